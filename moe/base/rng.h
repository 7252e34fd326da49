// SPDX-License-Identifier: MIT
// Counter-based random numbers: a draw depends on what it is for, never on what was drawn before,
// so it does not change with batch split, threads, recomputation or ranks. Philox4x32-10 (Salmon et
// al. 2011, "Parallel random numbers: as easy as 1, 2, 3"); the known-answer vectors of that paper
// are in the test.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace moe {

/// One block of Philox4x32-10.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// 64-bit hash of bytes, fixed for ever (files and data splits depend on it): FNV-1a folded through
/// a splitmix64 finaliser.
uint64_t stable_hash(std::string_view bytes, uint64_t seed = 0);

/// The stream of draws of one purpose ("dropout.attn", layer 3) at one optimiser step. Cheap to
/// make and copy. Draws differ for every index of 64 bits and every column of 32 bits.
class RngStream {
 public:
  RngStream(uint64_t seed, uint64_t step, std::string_view purpose, int64_t layer = 0);
  uint64_t bits(int64_t index, int64_t column) const;
  /// In [0, 1), 53 bits.
  double uniform(int64_t index, int64_t column) const;
  /// Standard normal by Box-Muller, from this (index, column)'s block alone.
  double normal(int64_t index, int64_t column) const;
  /// In [0, n), n >= 1, without modulo bias beyond 2^-64.
  uint64_t below(uint64_t n, int64_t index, int64_t column) const;

 private:
  std::array<uint32_t, 4> counter(int64_t index, int64_t column) const;

  std::array<uint32_t, 2> key_;
  uint32_t step_;
};

/// What a forward pass carries: the seed of the run and the optimiser step.
struct Rng {
  uint64_t seed = 0, step = 0;
  RngStream stream(std::string_view purpose, int64_t layer = 0) const {
    return {seed, step, purpose, layer};
  }
};

}  // namespace moe
