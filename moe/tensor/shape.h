// SPDX-License-Identifier: MIT
// Sizes of up to four dimensions, outermost first.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "moe/base/error.h"

namespace moe {

class Shape {
 public:
  static constexpr int kMaxRank = 4;
  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes) {
    MOE_CHECK(sizes.size() <= kMaxRank, "[shape] ", sizes.size(),
              " dimensions, at most 4 are supported");
    for (int64_t size : sizes) push_back(size);
  }
  void push_back(int64_t size) {
    MOE_CHECK(rank_ < kMaxRank, "[shape] more than 4 dimensions");
    MOE_CHECK(size >= 0, "[shape] negative size ", size);
    sizes_[size_t(rank_++)] = size;
  }
  int rank() const { return rank_; }
  int64_t operator[](int dim) const { return sizes_[size_t(dim < 0 ? rank_ + dim : dim)]; }
  /// Number of elements; 1 for rank 0. Throws Error when it does not fit in 63 bits.
  int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i)
      MOE_CHECK(!__builtin_mul_overflow(n, sizes_[size_t(i)], &n), "[shape] too many elements");
    return n;
  }
  bool operator==(const Shape& other) const {
    if (rank_ != other.rank_) return false;
    for (int i = 0; i < rank_; ++i)
      if (sizes_[size_t(i)] != other.sizes_[size_t(i)]) return false;
    return true;
  }
  /// "[4, 128, 64]"
  std::string text() const;

 private:
  std::array<int64_t, kMaxRank> sizes_{};
  int rank_ = 0;
};

}  // namespace moe
