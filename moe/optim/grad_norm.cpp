// SPDX-License-Identifier: MIT
#include "moe/optim/grad_norm.h"

#include <algorithm>
#include <cmath>

#include "moe/base/parallel.h"
#include "moe/kernels/kernels.h"

namespace moe {
namespace {

constexpr int64_t kBlock = 4096;  // elements of a row-major piece that make one chain

// Chains that lie side by side in memory: the rows of a panel, 16 of them, or one block.
struct Chains {
  const Tensor* tensor;
  int64_t offset, length, stride;  // of the first element, of each chain, between its elements
  int64_t lane, count;             // the chains that are wanted
  int64_t place;                   // of the first one's sum, the others' follow
};

template <class T>
void sums_of_squares(const Chains& c, double* sums) {
  const T* x = reinterpret_cast<const T*>(c.tensor->raw()) + c.offset;
  double lanes[16] = {};
  if (c.stride == 16) {
    for (int64_t j = 0; j < c.length; ++j, x += 16)
      for (int i = 0; i < 16; ++i) lanes[i] += double(x[i]) * double(x[i]);
  } else {
    for (int64_t j = 0; j < c.length; ++j) lanes[0] += double(x[j]) * double(x[j]);
  }
  std::copy_n(lanes + c.lane, c.count, sums + c.place);
}

/// Adds the piece's chains; their sums take the places from `place` on.
int64_t add_chains(std::vector<Chains>& chains, const Tensor& tensor, const Piece& piece,
                   int64_t place) {
  if (tensor.layout() == Layout::row_major) {
    const int64_t n = tensor.numel();
    for (int64_t begin = 0; begin < n; begin += kBlock)
      chains.push_back({&tensor, begin, std::min(kBlock, n - begin), 1, 0, 1, place++});
    return place;
  }
  const PanelMap map = tensor.panel_map();
  const int64_t matrix = piece.matrix * map.stored_numel();
  for (int64_t row = piece.row; row < piece.row + piece.rows;) {
    const int64_t stored = map.stored_row(row), lane = stored % 16;
    // Logical rows follow one another inside a panel, and gate and up begin panels of their own.
    Chains c{&tensor, matrix + (stored - lane) * map.cols, map.cols, 16, lane, 0, place};
    const int64_t last = std::min(piece.row + piece.rows, row + 16 - lane);
    while (row < last && map.stored_row(row) == stored + c.count) ++row, ++c.count;
    place += c.count;
    chains.push_back(c);
  }
  return place;
}

double norm_of(const std::vector<Chains>& chains, int64_t places) {
  std::vector<double> sums(static_cast<size_t>(places));
  parallel_for(int64_t(chains.size()), 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Chains& c = chains[size_t(i)];
      if (c.tensor->dtype() == DType::f64)
        sums_of_squares<double>(c, sums.data());
      else
        sums_of_squares<float>(c, sums.data());
    }
  });
  double total = 0;
  for (const double s : sums) total += s;
  return std::sqrt(total);
}

}  // namespace

double gradient_norm(const std::vector<Parameter>& parameters) {
  std::vector<Chains> chains;
  int64_t places = 0;
  for (const Parameter& p : parameters)
    for (const Piece& piece : p.pieces) places = add_chains(chains, p.var.grad(), piece, places);
  return norm_of(chains, places);
}

double piece_norm(const Tensor& stored, const Piece& piece) {
  std::vector<Chains> chains;
  const int64_t places = add_chains(chains, stored, piece, 0);
  return norm_of(chains, places);
}

void scale_gradients(const std::vector<Parameter>& parameters, double factor) {
  for (const Parameter& p : parameters) {
    if (!p.var.has_grad()) continue;
    const Tensor& g = p.var.grad();
    const MatView flat{g.raw(), g.dtype(), 1, g.stored_numel(), g.stored_numel()};
    kernels(g.dtype()).scale(flat, flat, factor);
  }
}

double clip_factor(double norm, double max_norm) {
  return max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0;
}

}  // namespace moe
