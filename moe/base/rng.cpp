// SPDX-License-Identifier: MIT
// Philox4x32-10 (Salmon et al. 2011, section 3.3 and table 2) and the draws made from its blocks.
#include "moe/base/rng.h"

#include <cmath>
#include <numbers>

namespace moe {
namespace {

/// The finaliser of splitmix64 (Steele et al. 2014, "Fast splittable pseudorandom number
/// generators"): a bijection in which every input bit moves about half of the output bits.
uint64_t mix(uint64_t x) {
  x ^= x >> 30;
  x *= 0xBF58476D1CE4E5B9;
  x ^= x >> 27;
  x *= 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

uint64_t low_word_first(uint32_t low, uint32_t high) { return uint64_t{high} << 32 | low; }

/// 53 bits as a fraction in [0, 1).
double fraction(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; }

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  constexpr uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;  // golden ratio, sqrt(3) - 1
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = kMultiplier0 * counter[0], product1 = kMultiplier1 * counter[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

uint64_t stable_hash(std::string_view bytes, uint64_t seed) {
  uint64_t hash = 0xCBF29CE484222325 ^ mix(seed);  // FNV-1a's basis; mix(0) is 0
  for (const char c : bytes) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001B3;
  }
  return mix(hash);
}

RngStream::RngStream(uint64_t seed, uint64_t step, std::string_view purpose, int64_t layer)
    : step_(static_cast<uint32_t>(step)) {
  // The counter holds 32 bits of the step; the bits above go into the key, which they leave alone
  // while they are 0.
  const uint64_t layer_bits = static_cast<uint64_t>(layer);
  const uint64_t key =
      stable_hash(purpose, mix(seed ^ mix(layer_bits + 0x9E3779B97F4A7C15)) ^ mix(step >> 32));
  key_ = {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)};
}

uint64_t RngStream::bits(int64_t index, int64_t column) const {
  const auto block = philox4x32(counter(index, column), key_);
  return low_word_first(block[0], block[1]);
}

double RngStream::uniform(int64_t index, int64_t column) const {
  return fraction(bits(index, column));
}

double RngStream::normal(int64_t index, int64_t column) const {
  const auto block = philox4x32(counter(index, column), key_);
  const double u =
      1 - fraction(low_word_first(block[0], block[1]));  // in (0, 1]: its logarithm is finite
  const double angle = 2 * std::numbers::pi * fraction(low_word_first(block[2], block[3]));
  return std::sqrt(-2 * std::log(u)) * std::cos(angle);
}

uint64_t RngStream::below(uint64_t n, int64_t index, int64_t column) const {
  // floor(bits * n / 2^64) (Lemire 2019, without the rejection): each value has probability within
  // 2^-64 of 1/n.
  __extension__ using Wide = unsigned __int128;
  return static_cast<uint64_t>(Wide{bits(index, column)} * n >> 64);
}

std::array<uint32_t, 4> RngStream::counter(int64_t index, int64_t column) const {
  const uint64_t index_bits = static_cast<uint64_t>(index),
                 column_bits = static_cast<uint64_t>(column);
  return {static_cast<uint32_t>(index_bits), static_cast<uint32_t>(index_bits >> 32),
          static_cast<uint32_t>(column_bits), step_};
}

}  // namespace moe
