// SPDX-License-Identifier: MIT
#include "moe/train/progress_text.h"

#include <gtest/gtest.h>

namespace moe {
namespace {

TrainingProgress usual() {
  return {.step = 120,
          .steps = 1000,
          .done = 0.12,
          .loss = 1.23449,
          .val_loss = 1.345,
          .balance = 0.981,
          .tokens_per_second = 5432.1,
          .seconds_left = 754,
          .memory_bytes = uint64_t{155} << 20};
}

TEST(ProgressText, ShowsEverythingInEightyColumns) {
  const std::string text = progress_text(usual(), 79);
  for (const char* part :
       {"step 120", "loss 1.234", "val 1.345", "5432 tok/s", "ETA 12:34", "bal 0.98", "155MiB"})
    EXPECT_NE(text.find(part), std::string::npos) << part << " is not in " << text;
}

TEST(ProgressText, LongNumbersFitToo) {
  for (const int64_t step : {1, 99'999, 999'999})
    for (const double loss : {0.01, 9.9999, 10.123, 123.4, 123456.0})
      for (const double rate : {0.4, 9999.4, 123456.7, 12345678.9})
        for (const double left : {0.0, 3599.6, 86399.0, 1e7, 1e300})
          for (const uint64_t memory : {uint64_t{1} << 20, uint64_t{999} << 30}) {
            TrainingProgress p = usual();
            p.step = step;
            p.steps = 1'000'000;
            p.loss = loss;
            p.val_loss = loss;
            p.tokens_per_second = rate;
            p.seconds_left = left;
            p.memory_bytes = memory;
            const std::string text = progress_text(p, 79);
            EXPECT_LE(text.size(), 79u) << text;
            EXPECT_NE(text.find("iB"), std::string::npos) << text;
          }
}

TEST(ProgressText, AWiderTerminalShowsTheNumberOfSteps) {
  EXPECT_NE(progress_text(usual(), 100).find("step 120/1000"), std::string::npos);
}

TEST(ProgressText, NothingIsMadeUpBeforeItIsKnown) {
  TrainingProgress p = usual();
  p.val_loss.reset();
  p.balance.reset();
  const std::string text = progress_text(p, 79);
  EXPECT_EQ(text.find("val"), std::string::npos);
  EXPECT_EQ(text.find("bal"), std::string::npos);
}

}  // namespace
}  // namespace moe
