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

// Walks the logical elements of a block: runs of a fixed distance in memory, one row at a time.
template <class T>
struct Walk {
  const T* x;
  int64_t left_in_row, left;
  int64_t stride, cols, row;
  const T* matrix;
  PanelMap map;

  explicit Walk(const Block& b) : left(b.end - b.begin) {
    const T* data = reinterpret_cast<const T*>(b.grad->raw());
    if (b.grad->layout() == Layout::row_major) {
      x = data + b.begin;
      stride = 1;
      left_in_row = left;
      return;
    }
    map = b.grad->panel_map();
    matrix = data + b.piece->matrix * map.stored_numel();
    stride = 16;
    cols = map.cols;
    row = b.piece->row + b.begin / cols;
    x = matrix + map.offset(row, b.begin % cols);
    left_in_row = std::min(left, cols - b.begin % cols);
  }
  void advance(int64_t n) {
    x += n * stride;
    left -= n;
    left_in_row -= n;
    if (left_in_row > 0 || left == 0) return;
    x = matrix + map.offset(++row, 0);
    left_in_row = std::min(left, cols);
  }
};

constexpr int kTogether = 8;  // chains side by side: one addition alone waits four cycles

/// Sums of squares of n_blocks <= kTogether blocks of equal size and layout, each one chain.
template <class T>
void sums_of_squares(const Block* blocks, int n_blocks, double* sums) {
  std::vector<Walk<T>> walks;
  for (int i = 0; i < n_blocks; ++i) walks.emplace_back(blocks[i]);
  double sum[kTogether] = {};
  while (walks[0].left > 0) {
    int64_t n = walks[0].left_in_row;
    for (const Walk<T>& w : walks) n = std::min(n, w.left_in_row);
    const int64_t stride = walks[0].stride;
    if (n_blocks == kTogether) {
      const T* x[kTogether];
      for (int i = 0; i < kTogether; ++i) x[i] = walks[size_t(i)].x;
      for (int64_t j = 0; j < n * stride; j += stride)
#pragma GCC unroll 8
        for (int i = 0; i < kTogether; ++i) sum[i] += double(x[i][j]) * double(x[i][j]);
    } else {
      for (int i = 0; i < n_blocks; ++i)
        for (int64_t j = 0; j < n * stride; j += stride)
          sum[i] += double(walks[size_t(i)].x[j]) * double(walks[size_t(i)].x[j]);
    }
    for (Walk<T>& w : walks) w.advance(n);
  }
  std::copy(sum, sum + n_blocks, sums);
}

void add_blocks(std::vector<Block>& blocks, const Tensor& tensor, const Piece& piece, int64_t n) {
  for (int64_t begin = 0; begin < n; begin += kBlock)
    blocks.push_back({&tensor, &piece, begin, std::min(n, begin + kBlock)});
}

double norm_of(const std::vector<Block>& blocks) {
  std::vector<double> sums(blocks.size());
  parallel_for(int64_t(blocks.size()), kTogether, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end;) {
      const Block& b = blocks[size_t(i)];
      const auto alike = [&](const Block& c) {
        return c.grad == b.grad && c.end - c.begin == b.end - b.begin;
      };
      int n = 1;
      while (n < kTogether && i + n < end && alike(blocks[size_t(i + n)])) ++n;
      if (b.grad->dtype() == DType::f64)
        sums_of_squares<double>(&b, n, &sums[size_t(i)]);
      else
        sums_of_squares<float>(&b, n, &sums[size_t(i)]);
      i += n;
    }
  });
  double total = 0;
  for (const double s : sums) total += s;
  return std::sqrt(total);
}

}  // namespace

double gradient_norm(const std::vector<Parameter>& parameters) {
  std::vector<Block> blocks;
  for (const Parameter& p : parameters)
    for (const Piece& piece : p.pieces)
      add_blocks(blocks, p.var.grad(), piece, piece_shape(p, piece).numel());
  return norm_of(blocks);
}

double piece_norm(const Tensor& stored, const Piece& piece) {
  std::vector<Block> blocks;
  add_blocks(
      blocks, stored, piece,
      stored.layout() == Layout::row_major ? stored.numel() : piece.rows * stored.shape()[-1]);
  return norm_of(blocks);
}

double clip_factor(double norm, double max_norm) {
  return max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0;
}

}  // namespace moe
