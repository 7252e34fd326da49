// SPDX-License-Identifier: MIT
// Working memory of a kernel: one block per thread that only grows, so that a warm step does not
// ask the system for any.
#pragma once

#include <cstdint>
#include <memory>
#include <new>

namespace moe {

/// At least n floats, 64-byte aligned, uninitialised, this thread's until its next call for the
/// same slot; a kernel that calls another that has scratch of its own takes slot 1, packed rows
/// of products are in slot 2.
template <int kSlot = 0>
float* thread_scratch(int64_t n) {
  struct Free {
    void operator()(float* p) const { ::operator delete(p, std::align_val_t(64)); }
  };
  thread_local std::unique_ptr<float, Free> block;
  thread_local int64_t size = 0;
  if (n > size) {
    block.reset();
    size = 0;
    block.reset(
        static_cast<float*>(::operator new(size_t(n) * sizeof(float), std::align_val_t(64))));
    size = n;
  }
  return block.get();
}

}  // namespace moe
