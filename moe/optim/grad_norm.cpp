// SPDX-License-Identifier: MIT
#include "moe/optim/grad_norm.h"

#include <algorithm>
#include <cmath>

#include "moe/base/parallel.h"

namespace moe {
namespace {

constexpr int64_t kBlock = 4096;

struct Block {
  const Tensor* grad;
  const Piece* piece;  // null: a row-major parameter
  int64_t begin, end;  // logical elements
};

template <class T>
double sum_of_squares(const Block& b) {
  const T* data = reinterpret_cast<const T*>(b.grad->raw());
  double sum = 0;
  if (b.grad->layout() == Layout::row_major) {
    for (int64_t i = b.begin; i < b.end; ++i) sum += double(data[i]) * double(data[i]);
    return sum;
  }
  const PanelMap map = b.grad->panel_map();
  const T* matrix = data + b.piece->matrix * map.stored_numel();
  for (int64_t i = b.begin; i < b.end;) {
    const int64_t row = i / map.cols, col = i % map.cols, n = std::min(b.end - i, map.cols - col);
    const T* x = matrix + map.offset(b.piece->row + row, col);
    for (int64_t j = 0; j < n; ++j) sum += double(x[j * 16]) * double(x[j * 16]);
    i += n;
  }
  return sum;
}

}  // namespace

double gradient_norm(const std::vector<Parameter>& parameters) {
  std::vector<Block> blocks;
  for (const Parameter& p : parameters) {
    const Tensor& grad = p.var.grad();
    for (const Piece& piece : p.pieces) {
      const int64_t n = piece_shape(p, piece).numel();
      for (int64_t begin = 0; begin < n; begin += kBlock)
        blocks.push_back({&grad, &piece, begin, std::min(n, begin + kBlock)});
    }
  }
  std::vector<double> sums(blocks.size());
  parallel_for(int64_t(blocks.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Block& b = blocks[size_t(i)];
      sums[size_t(i)] =
          b.grad->dtype() == DType::f64 ? sum_of_squares<double>(b) : sum_of_squares<float>(b);
    }
  });
  double total = 0;
  for (const double s : sums) total += s;
  return std::sqrt(total);
}

double clip_factor(double norm, double max_norm) {
  return max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0;
}

}  // namespace moe
