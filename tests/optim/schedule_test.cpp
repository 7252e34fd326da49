// SPDX-License-Identifier: MIT
// Learning rates at marked steps: lr 1e-3, min 1e-4, 10 warm-up steps of 110.
#include "moe/optim/schedule.h"

#include <gtest/gtest.h>

namespace moe {
namespace {

OptimConfig config(const std::string& schedule) {
  return {.lr = 1e-3, .schedule = schedule, .warmup_steps = 10, .min_lr = 1e-4};
}

TEST(Schedule, WarmUpStartsAboveZeroAndEndsAtLr) {
  for (const char* schedule : {"constant", "linear", "cosine", "wsd"}) {
    EXPECT_DOUBLE_EQ(learning_rate(config(schedule), 0, 110), 1e-4);
    EXPECT_DOUBLE_EQ(learning_rate(config(schedule), 9, 110), 1e-3);
    EXPECT_DOUBLE_EQ(learning_rate(config(schedule), 10, 110), 1e-3);
  }
}

TEST(Schedule, Cosine) {
  EXPECT_NEAR(learning_rate(config("cosine"), 35, 110), 8.68198051534e-4, 1e-15);
  EXPECT_NEAR(learning_rate(config("cosine"), 60, 110), 5.5e-4, 1e-15);
  EXPECT_NEAR(learning_rate(config("cosine"), 110, 110), 1e-4, 1e-18);
  EXPECT_NEAR(learning_rate(config("cosine"), 500, 110), 1e-4, 1e-18);
}

TEST(Schedule, CosineWithItsOwnLength) {
  OptimConfig c = config("cosine");
  c.decay_steps = 60;
  EXPECT_NEAR(learning_rate(c, 35, 110), 5.5e-4, 1e-15);
  EXPECT_NEAR(learning_rate(c, 60, 110), 1e-4, 1e-18);
  c.decay_steps = 5;  // ends inside the warm-up
  EXPECT_NEAR(learning_rate(c, 10, 110), 1e-4, 1e-18);
}

TEST(Schedule, Linear) {
  EXPECT_NEAR(learning_rate(config("linear"), 60, 110), 5.5e-4, 1e-15);
  EXPECT_NEAR(learning_rate(config("linear"), 110, 110), 1e-4, 1e-18);
}

TEST(Schedule, Constant) { EXPECT_EQ(learning_rate(config("constant"), 109, 110), 1e-3); }

TEST(Schedule, WarmupStableDecayComesDownInTheLastFifth) {
  OptimConfig c = config("wsd");
  c.min_lr = 0;
  EXPECT_DOUBLE_EQ(learning_rate(c, 88, 110), 1e-3);
  EXPECT_NEAR(learning_rate(c, 99, 110), 2.92893218813e-4, 1e-15);
  EXPECT_NEAR(learning_rate(c, 110, 110), 0, 1e-18);
}

TEST(Schedule, ElapsedTimeMovesItOn) {
  EXPECT_NEAR(learning_rate(config("cosine"), 20, 110, 60.0 / 110), 5.5e-4, 1e-15);
  EXPECT_NEAR(learning_rate(config("cosine"), 60, 110, 0.1), 5.5e-4, 1e-15);
  EXPECT_NEAR(learning_rate(config("cosine"), 3, 110, 1), 4e-4,
              1e-18);  // warm-up stays a matter of steps
}

}  // namespace
}  // namespace moe
