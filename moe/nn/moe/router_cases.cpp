// SPDX-License-Identifier: MIT
#include "moe/nn/moe/router_cases.h"

namespace moe {
namespace {

using Known = RouterCase::Known;
using Places = RouterCase::Places;

const std::vector<Known> kTwoBest = {{0, 3, .4}, {0, 2, .3}, {1, 0, .5},
                                     {1, 3, .3}, {2, 1, .4}, {2, 0, .3}};
const std::vector<Known> kTwoBestOverTheirSum = {{0, 3, 4. / 7}, {0, 2, 3. / 7}, {1, 0, 5. / 8},
                                                 {1, 3, 3. / 8}, {2, 1, 4. / 7}, {2, 0, 3. / 7}};
const Places kLowerExperts = {{0, 0}, {0, 1}, {1, 0}, {1, 1}, {2, 0}, {2, 1}};
const Places kFirstExpert = {{0, 0}, {1, 0}, {2, 0}};
const Places kThreeLowerExperts = {{0, 0}, {0, 1}, {0, 2}, {1, 0}, {1, 1},
                                   {1, 2}, {2, 0}, {2, 1}, {2, 2}};
const Places kAllExperts = {{0, 0}, {0, 1}, {0, 2}, {0, 3}, {1, 0}, {1, 1},
                            {1, 2}, {1, 3}, {2, 0}, {2, 1}, {2, 2}, {2, 3}};

double entropy(const std::vector<double>& tenths) {
  double sum = 0;
  for (const double n : tenths) sum -= n / 10 * std::log(n / 10);
  return sum;
}
const double kMeanEntropy =
    (entropy({1, 2, 3, 4}) + entropy({5, 1, 1, 3}) + entropy({3, 4, 2, 1})) / 3;
// relu: weights log c; each expert is open for two tokens, so f = 4 / (2 x 3) x 2.
const double kReluLoss = double(1e-8f) * 4 / 3 * (std::log(24) + std::log(15) + std::log(24)) / 3;

// Population variance over the squared mean.
double cv_squared(const std::vector<double>& v) {
  double mean = 0, squares = 0;
  for (const double x : v) mean += x / double(v.size()), squares += x * x / double(v.size());
  return squares / (mean * mean) - 1;
}

const Places kLowerTokens = {{0, 0}, {1, 0}, {0, 1}, {1, 1}, {0, 2}, {1, 2}, {0, 3}, {1, 3}};

// Token choice takes experts 3 2 | 0 3 | 1 0, so f = (2, 1, 1, 2) / 6; P = (9, 7, 6, 8) / 30, and
// the balance loss is 4 f.P = 47 / 45. With sigmoids, scores over their sum are (30, 40, 45, 48) /
// 163, (10, 6, 6, 9) / 31, (45, 48, 40, 30) / 163, and 4 f.P = 2 / 9 (479 / 163 + 50 / 31). Expert
// choice: C = ceil(3 x 2 / 4) = 2 tokens an expert, probabilities as weights.
}  // namespace

const std::vector<RouterCase>& router_cases() {
  static const std::vector<RouterCase> lines = {
      {"top_k", 0, true, true, kTwoBestOverTheirSum, 47. / 45, kLowerExperts},
      {"sigmoid_bias",
       0,
       true,
       true,
       {{0, 3, 32. / 31},
        {0, 2, 30. / 31},
        {1, 0, 20. / 19},
        {1, 3, 18. / 19},
        {2, 1, 32. / 31},
        {2, 0, 30. / 31}},
       2. / 9 * (479. / 163 + 50. / 31),
       kLowerExperts},
      {"expert_choice",
       0,
       false,
       false,
       {{1, 0, .5},
        {2, 0, .3},
        {2, 1, .4},
        {0, 1, .2},
        {0, 2, .3},
        {2, 2, .2},
        {0, 3, .4},
        {1, 3, .3}},
       0,
       kLowerTokens,
       4,
       true,
       false},
      {"longcat",
       1,
       true,
       true,
       {{0, 3, .8}, {0, 2, .6}, {1, 0, 1.}, {1, 3, .6}, {2, 1, .8}, {2, 0, .6}},
       47. / 45,
       kLowerExperts},
      // First choices 3 | 0 | 1: 4 f.P = 4 / 3 (9 + 7 + 8) / 30.
      {"switch", 0, true, true, {{0, 3, .4}, {1, 0, .5}, {2, 1, .4}}, 16. / 15, kFirstExpert, 1},
      {"gshard", 0, true, true, kTwoBestOverTheirSum, 16. / 15, kLowerExperts},
      {"group_limited", 0, true, true, kTwoBestOverTheirSum, 47. / 45, kLowerExperts},
      {"dense",
       0,
       true,
       false,
       {{0, 3, .4},
        {0, 2, .3},
        {0, 1, .2},
        {0, 0, .1},
        {1, 0, .5},
        {1, 3, .3},
        {1, 1, .1},
        {1, 2, .1},
        {2, 1, .4},
        {2, 0, .3},
        {2, 2, .2},
        {2, 3, .1}},
       0,
       kAllExperts,
       4},
      {"dense_raw",
       0,
       true,
       false,
       {{0, 3, std::log(4)},
        {0, 2, std::log(3)},
        {0, 1, std::log(2)},
        {0, 0, 0},
        {1, 0, std::log(5)},
        {1, 3, std::log(3)},
        {1, 1, 0},
        {1, 2, 0},
        {2, 1, std::log(4)},
        {2, 0, std::log(3)},
        {2, 2, std::log(2)},
        {2, 3, 0}},
       0,
       kAllExperts,
       4},
      // Threshold .55: the two best hold .7, .8 and .7. The entropy's weight is 0.25 x 0.5.
      {"top_p", 0, true, true, kTwoBest, 47. / 45 + 0.25 * kMeanEntropy, kThreeLowerExperts, 0},
      {"relu",
       0,
       true,
       true,
       {{0, 3, std::log(4)},
        {0, 2, std::log(3)},
        {0, 1, std::log(2)},
        {1, 0, std::log(5)},
        {1, 3, std::log(3)},
        {2, 1, std::log(4)},
        {2, 0, std::log(3)},
        {2, 2, std::log(2)}},
       2 * kReluLoss,
       {},
       0},
      {"sinkhorn", 0, true, true, kTwoBest, 0, kLowerExperts, 2, true, false},
      {"hash", 0, true, false, {}, 0, {}, 2, false},
      {"hash_balanced", 0, true, true, {}, 0, {}, 2, false},
      {"random", 0, true, false, {}, 0, {}, 2, false},
      // Importance (59/56, 4/7, 3/7, 53/56), load (2, 1, 1, 2).
      {"noisy_top_k", 0, true, true, kTwoBestOverTheirSum,
       cv_squared({59. / 56, 32. / 56, 24. / 56, 53. / 56}) + cv_squared({2, 1, 1, 2}),
       kLowerExperts},
      // Groups 0 1 and 2 3, one expert of each: of their sums 3 7 | 6 4 | 7 3. f = (1, 2, 1, 2) /
      // 6, 4 f.P = 4 (9 + 14 + 6 + 16) / 180.
      {"hierarchical",
       0,
       true,
       true,
       {{0, 3, .7}, {0, 1, .3}, {1, 0, .6}, {1, 3, .4}, {2, 1, .7}, {2, 2, .3}},
       1,
       {{0, 0}, {0, 2}, {1, 0}, {1, 2}, {2, 0}, {2, 2}}},
      {"base",
       0,
       true,
       true,
       {{0, 3, 4. / 5}, {1, 0, 5. / 6}, {2, 1, 4. / 5}},
       0,
       kFirstExpert,
       1,
       true,
       false},
      {"quantile", 0, true, true, kTwoBestOverTheirSum, 0, kLowerExperts},
      {"soft_slots", 0, false, false, {}, 0, {}, 0, true, false, false},
      {"cosine", 0, true, false, kTwoBestOverTheirSum, 47. / 45, kLowerExperts},
      // Outputs: two experts, a copy, a zero expert, whose weight is 0 before the others are
      // divided by their sum; tau 3/4 on the last two: 4 ((2 x 9 + 7) / 180 + 3/4 (6 + 2 x 8) /
      // 180).
      {"moe_pp",
       2,
       true,
       true,
       {{0, 3, 0}, {0, 2, 1}, {1, 0, 1}, {1, 3, 0}, {2, 1, 4. / 7}, {2, 0, 3. / 7}},
       4 * (25 + 0.75 * 22) / 180,
       kLowerExperts},
  };
  return lines;
}

MoeConfig config_of(const RouterCase& line) {
  MoeConfig c;
  c.router = line.name;
  c.n_experts = 4 - line.n_identity;
  c.n_identity_experts = line.n_identity;
  if (c.router == "moe_pp") c.n_identity_experts = c.n_zero_experts = line.n_identity / 2;
  c.n_constant_experts = 0;
  c.top_k = 2;
  c.routed_scaling_factor = 2;
  c.aux_loss_weight = 0.5;
  c.z_loss_weight = 0.25;
  c.threshold = 0.55;
  c.entropy_weight = 0.125;
  if (c.router == "hierarchical") c.n_group = c.topk_group = 2;
  c.cosine_dim = 5;
  return c;
}

}  // namespace moe
