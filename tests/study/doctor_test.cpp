// SPDX-License-Identifier: MIT
// Each diagnosis has a planted log that shows it alone, and a healthy log shows none.
#include "moe/study/doctor.h"

#include <cmath>
#include <gtest/gtest.h>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/rng.h"

namespace moe {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// A loss that falls from 4 to 1.5 with some noise, even loads, an evaluation every tenth step.
std::vector<LoggedStep> healthy(size_t n = 100) {
  const RngStream rng(1, 0, "doctor");
  std::vector<LoggedStep> log;
  for (size_t i = 0; i < n; ++i) {
    const double at = double(i) / double(n), loss = 1.5 + 2.5 * std::exp(-4 * at);
    std::vector<std::vector<double>> loads(2, std::vector<double>(8));
    for (size_t l = 0; l < 2; ++l)
      for (size_t e = 0; e < 8; ++e)
        loads[l][e] =
            0.125 + 0.02 * (e % 2 == 0 ? 1 : -1) * (1 + 0.1 * rng.normal(int64_t(i), int64_t(l)));
    log.push_back({.step = double(i + 1),
                   .loss = loss + 0.05 * rng.normal(int64_t(i), 100),
                   .val_loss = i % 10 == 9 ? loss + 0.1 : kNone,
                   .lr = 1e-3,
                   .grad_norm = 1,
                   .router_entropy = 1.4,
                   .drop_rate = 0.02,
                   .loads = loads});
  }
  return log;
}

std::vector<std::string> names(const std::vector<LoggedStep>& log) {
  std::vector<std::string> out;
  for (const Finding& f : diagnose(log)) {
    EXPECT_FALSE(f.evidence.empty());
    EXPECT_FALSE(f.advice.empty());
    out.push_back(f.name);
  }
  return out;
}
using Names = std::vector<std::string>;

TEST(Doctor, AHealthyRunHasNoFinding) {
  EXPECT_EQ(names(healthy()), Names{});
  EXPECT_EQ(names(healthy(3)), Names{});
}

TEST(Doctor, Collapse) {
  std::vector<LoggedStep> log = healthy();
  for (LoggedStep& s : log) s.loads[1] = {.49, .45, .01, .01, .01, .01, .01, .01};
  EXPECT_EQ(names(log), Names{"collapse"});
}

TEST(Doctor, DeadExperts) {
  std::vector<LoggedStep> log = healthy();
  for (LoggedStep& s : log) s.loads[0][3] = 0;
  EXPECT_EQ(names(log), Names{"dead_experts"});
  EXPECT_EQ(diagnose(log)[0].value, 1);
  for (size_t i = 90; i < 100; ++i) log[i].loads[0][3] = 0.1;  // it came back
  EXPECT_EQ(names(log), Names{});
}

TEST(Doctor, RouterSaturation) {
  std::vector<LoggedStep> log = healthy();
  for (LoggedStep& s : log) s.router_entropy = 0.02;
  EXPECT_EQ(names(log), Names{"router_saturation"});
}

TEST(Doctor, Divergence) {
  std::vector<LoggedStep> log = healthy();
  for (size_t i = 80; i < 100; ++i) log[i].loss = 2.8;
  EXPECT_EQ(names(log), Names{"divergence"});
  log = healthy();
  log[99].loss = std::numeric_limits<double>::infinity();
  EXPECT_EQ(names(log), Names{"divergence"});
}

TEST(Doctor, Overfitting) {
  std::vector<LoggedStep> log = healthy();
  for (size_t i = 50; i < 100; ++i) {
    log[i].loss -= 0.01 * double(i - 50);
    if (std::isfinite(log[i].val_loss)) log[i].val_loss += 0.01 * double(i - 50);
  }
  EXPECT_EQ(names(log), Names{"overfitting"});
}

TEST(Doctor, DropRate) {
  std::vector<LoggedStep> log = healthy();
  for (LoggedStep& s : log) s.drop_rate = 0.3;
  EXPECT_EQ(names(log), Names{"drop_rate"});
}

TEST(Doctor, LearningRates) {
  std::vector<LoggedStep> low = healthy(), high = healthy();
  for (size_t i = 0; i < 100; ++i) {
    low[i].loss = 4 - 0.0002 * double(i);
    low[i].val_loss = kNone;
    high[i].loss = 4 + (i % 3 == 0 ? 2 : 0.1);
    high[i].val_loss = kNone;
  }
  EXPECT_EQ(names(low), Names{"learning_rate_too_low"});
  EXPECT_EQ(names(high), Names{"learning_rate_too_high"});
  for (size_t i = 1; i < 100; ++i) high[i].loss = i < 20 ? 15 : 3;  // it came back from far above
  EXPECT_EQ(names(high), Names{"learning_rate_too_high"});
}

TEST(Doctor, ALogIsReadAndLinesCutShortAreNot) {
  const std::string folder = ::testing::TempDir() + "moe_doctor_test";
  make_directories(real_fs(), folder);
  write_file_atomic(real_fs(), folder + "/metrics.jsonl",
                    "{\"step\": 1, \"loss\": 2.5, \"lm_loss\": 2.25, \"lr\": 0.1, \"experts\": "
                    "[[0.5, 0.5]], \"drop_rate\": 0.25}\n{\"step\": 2, \"lo");
  const std::vector<LoggedStep> log = read_log(folder);
  ASSERT_EQ(log.size(), 1u);
  EXPECT_EQ(log[0].loss, 2.25);
  EXPECT_EQ(log[0].drop_rate, 0.25);
  EXPECT_TRUE(std::isnan(log[0].val_loss));
  EXPECT_EQ(log[0].loads, (std::vector<std::vector<double>>{{0.5, 0.5}}));
  EXPECT_THROW(read_log(folder + "/none"), Error);
}

}  // namespace
}  // namespace moe
