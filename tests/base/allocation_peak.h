// SPDX-License-Identifier: MIT
// Counts what `new` hands out in this test program, to hold readers of foreign files to their
// memory bound.
#pragma once

#include <cstdint>

namespace moe {

/// Largest number of bytes that lived at once, beyond those alive at construction.
class AllocationPeak {
 public:
  AllocationPeak();
  uint64_t bytes() const;

 private:
  int64_t start_;
};

}  // namespace moe
