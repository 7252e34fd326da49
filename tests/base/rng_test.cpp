// SPDX-License-Identifier: MIT
#include "moe/base/rng.h"

#include <cmath>
#include <gtest/gtest.h>
#include <set>

namespace moe {
namespace {

using Block = std::array<uint32_t, 4>;

// Random123 1.09, tests/kat_vectors, "philox 4x32 10".
TEST(Philox, MatchesTheKnownAnswersOfRandom123) {
  constexpr uint32_t kOnes = 0xFFFFFFFF;
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Block{0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8}));
  EXPECT_EQ(philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (Block{0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD}));
  EXPECT_EQ(philox4x32({0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344}, {0xA4093822, 0x299F31D0}),
            (Block{0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1}));
}

// Data splits and old checkpoints depend on these values. Computed by this Python:
//   def mix(x): x ^= x >> 30; x = x * 0xBF58476D1CE4E5B9 % 2**64; x ^= x >> 27
//               x = x * 0x94D049BB133111EB % 2**64; return x ^ x >> 31
//   def stable_hash(b, seed=0):
//     h = 0xCBF29CE484222325 ^ mix(seed)
//     for c in b: h = (h ^ c) * 0x100000001B3 % 2**64
//     return mix(h)
TEST(StableHash, NeverChanges) {
  EXPECT_EQ(stable_hash(""), 0xF52A15E9A9B5E89Bu);
  EXPECT_EQ(stable_hash("prompt"), 0xB373E99039BADBAAu);
  EXPECT_EQ(stable_hash("prompt", 7), 0x602225D5E18DCD68u);
}

TEST(RngStream, ADrawDependsOnEveryPartOfItsName) {
  std::set<uint64_t> draws;
  int n = 0;
  for (const uint64_t seed : {0, 1, 2})
    for (const uint64_t step :
         {uint64_t{0}, uint64_t{1}, uint64_t{1} << 32, (uint64_t{1} << 32) + 1, uint64_t{1} << 63})
      for (const char* purpose : {"dropout.attn", "dropout.ffn", ""})
        for (const int64_t layer : {0, 1, 2})
          for (const int64_t index : {int64_t{0}, int64_t{1}, int64_t{1} << 32, int64_t{-1}})
            for (const int64_t column : {0, 1}) {
              draws.insert(RngStream(seed, step, purpose, layer).bits(index, column));
              ++n;
            }
  EXPECT_EQ(draws.size(), static_cast<size_t>(n));
}

TEST(RngStream, TheSameNameGivesTheSameDraw) {
  EXPECT_EQ(RngStream(1, 2, "a", 3).bits(4, 5), (Rng{1, 2}.stream("a", 3).bits(4, 5)));
}

TEST(RngStream, UniformIsFlat) {
  const RngStream stream(1, 0, "test");
  constexpr int kDraws = 100'000, kBins = 20;
  std::array<int, kBins> count{};
  for (int i = 0; i < kDraws; ++i) {
    const double u = stream.uniform(i, 0);
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    ++count[static_cast<size_t>(u * kBins)];
  }
  double chi2 = 0;
  for (const int c : count) chi2 += std::pow(c - kDraws / kBins, 2) / (kDraws / kBins);
  EXPECT_LT(
      chi2,
      43.8);  // 99.9th percentile of chi-squared with 19 degrees of freedom; the seed is fixed
}

TEST(RngStream, NormalHasTheMomentsOfANormal) {
  const RngStream stream(1, 0, "test");
  constexpr int kDraws = 100'000;
  double sum = 0, sum2 = 0, sum4 = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double z = stream.normal(i, 1);
    ASSERT_TRUE(std::isfinite(z));
    sum += z, sum2 += z * z, sum4 += z * z * z * z;
  }
  // Four standard errors: sqrt(1/n), sqrt(2/n), sqrt(96/n).
  EXPECT_NEAR(sum / kDraws, 0, 4 * std::sqrt(1.0 / kDraws));
  EXPECT_NEAR(sum2 / kDraws, 1, 4 * std::sqrt(2.0 / kDraws));
  EXPECT_NEAR(sum4 / kDraws, 3, 4 * std::sqrt(96.0 / kDraws));
}

TEST(RngStream, NeighboursAreUncorrelated) {
  const RngStream stream(3, 9, "test");
  constexpr int kDraws = 50'000;
  double by_index = 0, by_column = 0;
  for (int i = 0; i < kDraws; ++i) {
    by_index += stream.normal(i, 0) * stream.normal(i + 1, 0);
    by_column += stream.normal(i, 0) * stream.normal(i, 1);
  }
  EXPECT_NEAR(by_index / kDraws, 0, 4 / std::sqrt(kDraws));  // four standard errors
  EXPECT_NEAR(by_column / kDraws, 0, 4 / std::sqrt(kDraws));
}

TEST(RngStream, BelowCoversItsRangeAndNoMore) {
  const RngStream stream(1, 0, "test");
  std::array<int, 7> count{};
  for (int i = 0; i < 7000; ++i) ++count.at(stream.below(7, i, 0));
  for (const int c : count)
    EXPECT_NEAR(c, 1000, 4 * std::sqrt(1000.0 * 6 / 7));  // four standard deviations
  EXPECT_EQ(stream.below(1, 0, 0), 0u);
  EXPECT_EQ(stream.below(~uint64_t{0}, 5, 0) >> 32, stream.bits(5, 0) >> 32);
}

}  // namespace
}  // namespace moe
