// SPDX-License-Identifier: MIT
// What the conformance list cannot say of single routers: group limits, draws in training, fixed
// routes, Sinkhorn's iteration, the controller of ReLU routing. Worked examples in tenths.
#include <algorithm>
#include <set>

#include "router_testing.h"

namespace moe {
namespace {

using testing::buffers_of;
using testing::choices;
using testing::context;
using testing::identity_router;
using testing::matrix;
using testing::Rows;
using testing::weights;

MoeConfig config(const char* router, int64_t E, int64_t k) {
  MoeConfig c;
  c.router = router;
  c.n_experts = E;
  c.top_k = k;
  c.aux_loss_weight = c.z_loss_weight = 0;
  return c;
}

std::vector<int> experts_of(const Routing& routing, int token) {
  std::vector<int> experts;
  for (const Pick& p : routing.picks)
    if (p.token == token) experts.push_back(p.expert);
  return experts;
}

// A [T, E] matrix of the same logits in every row, log p.
Tensor rows_of(const std::vector<double>& p, int64_t T) {
  std::vector<double> logs;
  for (const double x : p) logs.push_back(std::log(x));
  return matrix(Rows(size_t(T), logs));
}

// Groups of two by their best single score, .9 and .8 of these: experts 0, 4, 1. (By the sum of
// two, groups 1 and 3 would be open.)
TEST(GroupLimitedRouter, TakesTheGroupsWithTheBestSingleScore) {
  MoeConfig c = config("group_limited", 8, 3);
  c.n_group = 4;
  c.topk_group = 2;
  c.norm_topk_prob = false;
  c.routed_scaling_factor = 16;
  const std::vector<double> scores = {.9, .1, .6, .5, .8, .05, .4, .7};
  const double sum = 4.05;
  const Tensor x = rows_of(scores, 1);
  const Routing routing = identity_router(c)->route(Var(x), context({1}));
  EXPECT_EQ(choices(routing.picks),
            (std::map<std::pair<int, int>, int>{{{0, 0}, 0}, {{0, 4}, 1}, {{0, 1}, 2}}));
  const auto w = weights(routing, x);
  EXPECT_NEAR(w.at({0, 0}), 16 * .9 / sum, 1e-14);
  EXPECT_NEAR(w.at({0, 1}), 16 * .1 / sum, 1e-14);
}

// p = .6 .1 .1 .2: the second weight is .2 / .8 = 1/4, the first 3/4, kept alone or not.
TEST(GshardRouter, SecondExpertByThresholdAndByChance) {
  MoeConfig c = config("gshard", 4, 2);
  const int64_t T = 4000;
  const Tensor x = rows_of({.6, .1, .1, .2}, T);
  ForwardContext ctx = context({T});
  const auto seconds = [&] {
    const Routing routing = identity_router(c)->route(Var(x), ctx);
    EXPECT_NEAR(weights(identity_router(c)->route(Var(rows_of({.6, .1, .1, .2}, 1)), context({1})),
                        rows_of({.6, .1, .1, .2}, 1))
                    .at({0, 0}),
                .75, 1e-14);
    return routing.stats.counts_E[3];
  };
  c.second_expert_policy = "threshold";
  c.second_expert_threshold = 0.3;
  EXPECT_EQ(seconds(), T);  // evaluation takes both
  ctx.training = true;
  EXPECT_EQ(seconds(), 0);
  c.second_expert_threshold = 0.2;
  EXPECT_EQ(seconds(), T);
  c.second_expert_policy = "random";
  EXPECT_EQ(seconds(), T);  // 1/4 exceeds .2: always
  c.second_expert_threshold = 0.5;
  // With chance 1/4 / (1/2) = 1/2; four standard deviations of 4,000 draws are 126.
  EXPECT_NEAR(double(seconds()), T / 2., 126);
  c.second_expert_policy = "all";
  EXPECT_EQ(seconds(), T);
}

TEST(GshardRouter, TheFirstKeepsItsWeightWhenItStaysAlone) {
  MoeConfig c = config("gshard", 4, 2);
  c.second_expert_policy = "threshold";
  c.second_expert_threshold = 0.3;
  ForwardContext ctx = context({1});
  ctx.training = true;
  const Tensor x = rows_of({.6, .1, .1, .2}, 1);
  const Routing routing = identity_router(c)->route(Var(x), ctx);
  ASSERT_EQ(routing.picks.size(), 1u);
  EXPECT_NEAR(weights(routing, x).at({0, 0}), .75, 1e-14);
}

TEST(SwitchRouter, JitterActsInTrainingAloneWithinItsBounds) {
  MoeConfig c = config("switch", 4, 1);
  c.router_jitter = 0.25;
  const Tensor x = matrix(Rows(200, {4, 4, 4, 4}));
  ForwardContext ctx = context({200});
  const auto logits = [&] {
    const Tensor z = identity_router(c)->route(Var(x), ctx).router_logits_TE.value();
    const std::span<double> all = z.data<double>();
    return std::vector<double>{all.begin(), all.end()};
  };
  const std::vector<double> plain = logits();
  EXPECT_TRUE(std::ranges::all_of(plain, [](double z) { return z == 4; }));
  ctx.training = true;
  const std::vector<double> drawn = logits();
  EXPECT_EQ(drawn, logits());  // the same step draws the same
  const auto [low, high] = std::ranges::minmax(drawn);
  EXPECT_GE(low, 3);
  EXPECT_LE(high, 5);
  // 800 uniform draws leave 1 % at an end with probability .99^800 = 3e-4.
  EXPECT_LT(low, 3.02);
  EXPECT_GT(high, 4.98);
  ctx.rng.step = 1;
  EXPECT_NE(drawn, logits());
}

TEST(FixedRouters, HashFollowsTheIdRandomThePositionToo) {
  for (const char* name : {"hash", "random"}) {
    SCOPED_TRACE(name);
    const auto router = make_router(config(name, 8, 3), 5, DType::f64);
    const ForwardContext ctx = pack_sequences({{7, 1, 7, 7, 2}, {7, 1}});
    const Routing routing = router->route(Var(Tensor::zeros({7, 5}, DType::f64)), ctx);
    for (int t = 0; t < 7; ++t) {
      const std::vector<int> e = experts_of(routing, t);
      EXPECT_EQ(std::set<int>(e.begin(), e.end()).size(), 3u) << "three different experts";
    }
    for (const auto& [place, weight] : weights(routing, Tensor::zeros({7, 5}, DType::f64)))
      EXPECT_EQ(weight, 1. / 3);
    // The same id in the same place of another sequence; in another place.
    EXPECT_EQ(experts_of(routing, 0), experts_of(routing, 5));
    EXPECT_EQ(experts_of(routing, 0) == experts_of(routing, 2) &&
                  experts_of(routing, 0) == experts_of(routing, 3),
              name == std::string("hash"));
    ForwardContext other_layer = ctx;
    other_layer.layer = 1;
    EXPECT_NE(router->route(Var(Tensor::zeros({7, 5}, DType::f64)), other_layer).picks,
              routing.picks);
  }
}

// The worked example of four tokens and four experts: seven iterations leave these row sums, over
// T = 4, and one token an expert.
TEST(Sinkhorn, RowsAndColumnsOfTheWorkedExample) {
  const std::vector<double> z = {2,    1,  0,   -1, .3,  1.7, -.4, .9,
                                 -1.2, .6, 2.1, .2, 1.1, -.7, .4,  1.6};
  const std::vector<double> p = sinkhorn(z, 4);
  const double want[4] = {.249989918, .24999637, .250014939, .249998733};
  for (size_t t = 0; t < 4; ++t) {
    double row = 0, column = 0;
    for (size_t e = 0; e < 4; ++e) row += p[t * 4 + e], column += p[e * 4 + t];
    EXPECT_NEAR(row, want[t], 5e-10);  // the digits that are given
    EXPECT_NEAR(column, 0.25, 4e-8);   // exact but for the 1e-8 in the division
    const auto begin = p.begin() + int64_t(t) * 4;
    EXPECT_EQ(std::max_element(begin, begin + 4) - begin, int64_t(t));
  }
}

TEST(SinkhornRouter, BalancesInTrainingWhatTopKDoesNot) {
  // All tokens like expert 0 best, each a little differently.
  Rows rows;
  for (int t = 0; t < 40; ++t) rows.push_back({2 + 0.01 * t, 1, 1 - 0.02 * t, 0.5 + 0.01 * t});
  const auto router = identity_router(config("sinkhorn", 4, 1));
  ForwardContext ctx = context({40});
  EXPECT_EQ(router->route(Var(matrix(rows)), ctx).stats.counts_E[0], 40);
  ctx.training = true;
  const auto counts = router->route(Var(matrix(rows)), ctx).stats.counts_E;
  EXPECT_LT(*std::ranges::max_element(counts), 20);
}

TEST(ReluRouter, LambdaGrowsWhileMoreThanKExpertsAreTaken) {
  const auto router = identity_router(config("relu", 4, 2));
  const auto lambda = [&] { return buffers_of(*router).at(0).value.data<float>()[0]; };
  const auto step = [&](std::vector<int64_t> counts) {
    RouterTotals totals(4);
    totals.n_tokens = 10;
    totals.counts_E = std::move(counts);
    router->after_step(totals);
  };
  EXPECT_EQ(lambda(), 1e-8f);
  step({10, 5, 5, 1});  // 2.1 a token
  EXPECT_EQ(lambda(), 1e-8f * 1.2f);
  step({10, 5, 5, 0});  // 2.0
  EXPECT_EQ(lambda(), 1e-8f * 1.2f / 1.2f);
  router->after_step(RouterTotals(4));  // no token: nothing was seen
  EXPECT_EQ(lambda(), 1e-8f * 1.2f / 1.2f);
}

TEST(TopPRouter, TheExpertThatCrossesTheThresholdIsTaken) {
  const std::vector<double> p = {.45, .3, .15, .1};
  const auto taken = [&](double threshold) {
    MoeConfig c = config("top_p", 4, 2);
    c.threshold = threshold;
    return identity_router(c)->route(Var(rows_of(p, 1)), context({1})).picks.size();
  };
  EXPECT_EQ(taken(0), 1u);
  EXPECT_EQ(taken(.4), 1u);
  EXPECT_EQ(taken(.5), 2u);
  EXPECT_EQ(taken(.8), 3u);
  EXPECT_EQ(taken(1.1), 4u);
}

}  // namespace
}  // namespace moe
