// SPDX-License-Identifier: MIT
#include "moe/data/permutation.h"

#include <bit>

#include "moe/base/error.h"

namespace moe {
namespace {

/// splitmix64's finaliser (Steele, Lea and Flood 2014).
uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

}  // namespace

Permutation::Permutation(int64_t n, uint64_t seed, uint64_t round)
    : n_(static_cast<uint64_t>(n)), key_(mix(mix(seed) ^ round)) {
  MOE_CHECK(n >= 1 && n <= (int64_t{1} << 62), "[permutation] ", n, " is not in 1 .. 2^62");
  half_bits_ = (static_cast<int>(std::bit_width(n_ - 1)) + 1) / 2;
}

int64_t Permutation::operator()(int64_t i) const {
  MOE_CHECK(i >= 0 && static_cast<uint64_t>(i) < n_, "[permutation] place ", i, " is not below ",
            n_);
  if (half_bits_ == 0) return 0;
  // Four rounds make a pseudo-random permutation out of a good round function (Luby and Rackoff
  // 1988); two more because small halves mix slowly.
  constexpr uint64_t kRounds = 6;
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t x = static_cast<uint64_t>(i);
  do {
    uint64_t left = x >> half_bits_, right = x & mask;
    for (uint64_t r = 0; r < kRounds; ++r) {
      const uint64_t next = left ^ (mix(key_ ^ (right * kRounds + r)) & mask);
      left = right;
      right = next;
    }
    x = (left << half_bits_) | right;
  } while (x >= n_);
  return static_cast<int64_t>(x);
}

}  // namespace moe
