// SPDX-License-Identifier: MIT
#include "moe/data/permutation.h"

#include <gtest/gtest.h>

#include "moe/base/error.h"

namespace moe {
namespace {

std::vector<int64_t> order(int64_t n, uint64_t seed, uint64_t round) {
  const Permutation permutation(n, seed, round);
  std::vector<int64_t> out;
  for (int64_t i = 0; i < n; ++i) out.push_back(permutation(i));
  return out;
}

TEST(Permutation, HoldsEveryValueOnce) {
  for (const int64_t n : {1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 127, 1000, 4097}) {
    std::vector<int64_t> values = order(n, 7, 3);
    std::sort(values.begin(), values.end());
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(values[static_cast<size_t>(i)], i) << "n " << n;
  }
}

TEST(Permutation, StaysInRangeForHugeSizes) {
  const int64_t n = (int64_t{1} << 62) - 1;
  const Permutation permutation(n, 1, 0);
  for (int64_t i = 0; i < 100; ++i) {
    const int64_t value = permutation(n - 1 - i);
    EXPECT_GE(value, 0);
    EXPECT_LT(value, n);
  }
}

TEST(Permutation, DependsOnSeedAndRoundAndNothingElse) {
  EXPECT_EQ(order(100, 1, 0), order(100, 1, 0));
  EXPECT_NE(order(100, 1, 0), order(100, 2, 0));
  EXPECT_NE(order(100, 1, 0), order(100, 1, 1));
}

TEST(Permutation, LeavesNoPlaceFavoured) {
  // Over 6,000 orders of 6 values each value comes to place 0 about 1,000 times: standard deviation
  // 29, so 150 is 5.
  std::vector<int> count(6);
  for (uint64_t round = 0; round < 6000; ++round)
    ++count[static_cast<size_t>(Permutation(6, 11, round)(0))];
  for (const int c : count) EXPECT_NEAR(c, 1000, 150);
}

TEST(Permutation, RefusesSizesAndPlacesOutOfRange) {
  EXPECT_THROW(Permutation(0, 1, 1), Error);
  EXPECT_THROW(Permutation(-5, 1, 1), Error);
  EXPECT_THROW(Permutation(5, 1, 1)(5), Error);
  EXPECT_THROW(Permutation(5, 1, 1)(-1), Error);
}

}  // namespace
}  // namespace moe
