// SPDX-License-Identifier: MIT
// A shuffled order of 0 .. n - 1 that needs no list: a Feistel network over the next even number of
// bits, walked along its cycle until the value is below n (Black and Rogaway 2002, "Ciphers with
// arbitrary finite domains"). Any place is reached directly, so a resumed run goes on with the step
// number alone.
#pragma once

#include <cstdint>

namespace moe {

class Permutation {
 public:
  /// n >= 1, at most 2^62. Another seed or round gives another order.
  Permutation(int64_t n, uint64_t seed, uint64_t round);
  /// Where place i of the order points, 0 <= i < n. Each value comes once.
  int64_t operator()(int64_t i) const;

 private:
  uint64_t n_;
  uint64_t key_;
  int half_bits_;
};

}  // namespace moe
