// SPDX-License-Identifier: MIT
// Numbers that end where the memory of the process ends: one element too far is a crash, not luck.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

#include "moe/tensor/tensor.h"

namespace moe::testing {

template <class T>
class Guarded {
 public:
  Guarded() = default;
  explicit Guarded(int64_t size, T fill = T(0)) : size_(size) {
    const size_t page = size_t(sysconf(_SC_PAGESIZE)), bytes = size_t(size) * sizeof(T);
    mapped_ = (bytes + page - 1) / page * page + page;
    base_ = static_cast<std::byte*>(
        mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED || mprotect(base_ + mapped_ - page, page, PROT_NONE) != 0)
      throw std::bad_alloc();
    data_ = reinterpret_cast<T*>(base_ + mapped_ - page - bytes);
    std::fill(begin(), end(), fill);
  }
  Guarded(const Guarded& other) : Guarded(other.size_) {
    std::copy(other.begin(), other.end(), begin());
  }
  Guarded(Guarded&& other) noexcept { swap(other); }
  Guarded& operator=(Guarded other) noexcept {
    swap(other);
    return *this;
  }
  ~Guarded() {
    if (base_) munmap(base_, mapped_);
  }

  T* data() const { return data_; }
  T* begin() const { return data_; }
  T* end() const { return data_ + size_; }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) const { return data_[i]; }
  /// The last `cols` columns of rows of `stride` elements.
  MatView view(int64_t rows, int64_t cols, int64_t stride) const {
    return {data_ + (stride - cols), dtype_of<T>, rows, cols, stride};
  }

 private:
  void swap(Guarded& other) noexcept {
    std::swap(size_, other.size_);
    std::swap(mapped_, other.mapped_);
    std::swap(base_, other.base_);
    std::swap(data_, other.data_);
  }
  int64_t size_ = 0;
  size_t mapped_ = 0;
  std::byte* base_ = nullptr;
  T* data_ = nullptr;
};

}  // namespace moe::testing
