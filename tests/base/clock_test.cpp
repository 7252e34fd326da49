// SPDX-License-Identifier: MIT
#include "moe/base/clock.h"

#include <gtest/gtest.h>

namespace moe {
namespace {

TEST(Clock, RealTimeMovesForward) {
  const double start = real_clock().monotonic_seconds();
  EXPECT_GE(real_clock().monotonic_seconds(), start);
  EXPECT_GT(real_clock().unix_seconds(), 1.7e9) << "seconds since 1970";
}

TEST(Clock, ManualTimeMovesWhenTold) {
  ManualClock clock;
  const double start = clock.unix_seconds();
  clock.advance(1.5);
  EXPECT_EQ(clock.monotonic_seconds(), 1.5);
  EXPECT_EQ(clock.unix_seconds(), start + 1.5);
}

}  // namespace
}  // namespace moe
