// SPDX-License-Identifier: MIT
// Expert capacity: formulas, orders, overflow, groups, the steered factor. The orders' example is
// worked by hand: four tokens, four experts, room for one.
#include "moe/nn/moe/capacity.h"

#include <algorithm>
#include <set>

#include "router_testing.h"

namespace moe {
namespace {

using testing::context;
using testing::matrix;
using testing::Rows;

const Rows kLogits = {{2, 1, 0, -1}, {.3, 1.7, -.4, .9}, {-1.2, .6, 2.1, .2}, {1.1, -.7, .4, 1.6}};

MoeConfig config(const std::string& order, double factor) {
  MoeConfig c;
  c.n_experts = 4;
  c.top_k = 2;
  c.capacity_factor = factor;
  c.capacity_order = order;
  c.capacity_tokens = 4;
  return c;
}

// (expert, token) of what is kept.
using Kept = std::vector<std::pair<int, int>>;
Kept kept(const Routing& r) {
  Kept out;
  for (const Pick& p : r.kept) out.emplace_back(p.expert, p.token);
  return out;
}
Routing route(const MoeConfig& c, const Tensor& logits, ForwardContext ctx, bool training = true) {
  ctx.training = training;
  return make_router(c, logits.size(1), DType::f64)->route_logits(Var(logits), ctx);
}
Routing route(const MoeConfig& c) { return route(c, matrix(kLogits), context({4})); }

Tensor random_logits(int64_t T, int64_t E, uint64_t seed) {
  const RngStream rng(seed, 0, "capacity test");
  Rows rows(static_cast<size_t>(T), std::vector<double>(static_cast<size_t>(E)));
  for (int64_t t = 0; t < T; ++t)
    for (int64_t e = 0; e < E; ++e)
      rows[size_t(t)][size_t(e)] = rng.normal(t, e) + (e == 0 ? 1 : 0);
  return matrix(rows);
}

TEST(Capacity, EveryFormula) {
  MoeConfig c;
  c.n_experts = 8;
  c.top_k = 2;
  EXPECT_EQ(expert_capacity(c, 1.25, 100), 32);  // ceil(31.25)
  EXPECT_EQ(expert_capacity(c, 1, 4), 1);
  EXPECT_EQ(expert_capacity(c, 0.01, 4), 1);      // at least one
  EXPECT_EQ(expert_capacity(c, 100, 5), 5);       // at most all
  EXPECT_EQ(expert_capacity(c, 1.1, 1000), 275);  // 1.1 x 250 lies a rounding above 275
  c.capacity_rounding = "floor";
  EXPECT_EQ(expert_capacity(c, 1.25, 100), 31);
  c.capacity_rounding = "up_to_4";
  EXPECT_EQ(expert_capacity(c, 1.25, 104), 36);  // 32.5, 33, 36
  c.capacity_formula = "tokens";
  EXPECT_EQ(expert_capacity(c, 2, 100), 28);  // 25
  c.capacity_min = 40;
  EXPECT_EQ(expert_capacity(c, 2, 100), 40);
  c = MoeConfig();
  c.n_experts = 8;
  c.top_k = 2;
  c.capacity_formula = "tutel";
  EXPECT_EQ(expert_capacity(c, 1.25, 100), 32);  // 2 floor(1.25 x 13)
}

TEST(Capacity, WhoKeepsTheOnlyRoom) {
  const Kept first_choices = {{0, 0}, {1, 1}, {2, 2}, {3, 3}};
  EXPECT_EQ(kept(route(config("slot_major", .5))), first_choices);
  EXPECT_EQ(kept(route(config("token_major", .5))), (Kept{{0, 0}, {1, 0}, {2, 2}, {3, 1}}));
  const Routing by_weight = route(config("probability", .5));
  EXPECT_EQ(kept(by_weight), first_choices);
  const std::vector<double> want = {.731058579, .689974481, .817574476, .622459331};
  for (size_t a = 0; a < 4; ++a)
    EXPECT_NEAR(by_weight.weight_A1.value().data<double>()[a], want[a], 1e-9);
  EXPECT_EQ(by_weight.stats.dropped_E, (std::vector<int64_t>{1, 2, 0, 1}));
  EXPECT_EQ(by_weight.stats.counts_E, (std::vector<int64_t>{2, 3, 1, 2}));  // before the drop
  // All tokens want experts 0 and 1; the surest ones keep them.
  const Tensor alike = matrix(Rows{{1, .9, 0, 0}, {3, 2, 0, 0}, {2, 1, 0, 0}, {4, 3, 0, 0}});
  EXPECT_EQ(kept(route(config("bpr", 1), alike, context({4}))),
            (Kept{{0, 1}, {0, 3}, {1, 1}, {1, 3}}));
  EXPECT_EQ(kept(route(config("slot_major", 1), alike, context({4}))),
            (Kept{{0, 0}, {0, 1}, {1, 0}, {1, 1}}));
}

TEST(Capacity, WeightsOfWhatStaysAreNotRenormalised) {
  const Routing all = route(config("token_major", 0)), some = route(config("token_major", .5));
  ASSERT_EQ(all.kept.size(), 8u);
  for (size_t a = 0; a < some.kept.size(); ++a) {
    const size_t before =
        size_t(std::find(all.kept.begin(), all.kept.end(), some.kept[a]) - all.kept.begin());
    EXPECT_EQ(some.weight_A1.value().data<double>()[a],
              all.weight_A1.value().data<double>()[before]);
  }
}

// Token by token, choice by choice, with nothing but a counter an expert.
TEST(Capacity, TokenMajorEqualsAPlainLoop) {
  for (const double factor : {.3, .7, 1., 1.5}) {
    MoeConfig c = config("token_major", factor);
    c.n_experts = 6;
    c.capacity_tokens = 40;
    const Tensor logits = random_logits(70, 6, 3);
    const Routing r = route(c, logits, context({40, 30}));
    Kept want;
    std::vector<int64_t> dropped(6, 0);
    const int64_t C = expert_capacity(c, factor, 40);
    std::vector<std::vector<int64_t>> used(2, std::vector<int64_t>(6, 0));
    for (int t = 0; t < 70; ++t)
      for (int choice = 0; choice < 2; ++choice)
        for (const Pick& p : r.picks)
          if (p.token == t && p.choice == choice) {
            int64_t& n = used[size_t(t >= 40)][size_t(p.expert)];
            if (n < C)
              ++n, want.emplace_back(p.expert, t);
            else
              ++dropped[size_t(p.expert)];
          }
    std::ranges::sort(want);
    EXPECT_EQ(kept(r), want);
    EXPECT_EQ(r.stats.dropped_E, dropped);
  }
}

TEST(Capacity, RerouteTakesTheNextBestWithRoom) {
  MoeConfig c = config("token_major", .5);
  c.capacity_overflow = "reroute";
  // t0: 0 1; t1 wants 1 (full) 3: the next best of 0, 2 with room is 2, then 3; t2 and t3 find
  // none.
  const Routing r = route(c);
  EXPECT_EQ(kept(r), (Kept{{0, 0}, {1, 0}, {2, 1}, {3, 1}}));
  EXPECT_EQ(r.stats.dropped_E, (std::vector<int64_t>{1, 1, 1, 1}));
  for (const char* order : {"slot_major", "bpr", "token_major", "probability"}) {
    SCOPED_TRACE(order);
    MoeConfig wide = config(order, 1);  // room for all, no more
    wide.capacity_overflow = "reroute";
    wide.n_experts = 8;
    wide.capacity_tokens = 64;
    const Routing all = route(wide, random_logits(64, 8, 5), context({64}));
    std::vector<int> load(8, 0);
    std::set<std::pair<int, int>> pairs;
    for (const Pick& p : all.kept) ++load[size_t(p.expert)], pairs.insert({p.token, p.expert});
    EXPECT_LE(*std::ranges::max_element(load), 16);
    EXPECT_EQ(pairs.size(), all.kept.size());  // no expert twice
    int64_t dropped = 0;
    for (const int64_t n : all.stats.dropped_E) dropped += n;
    EXPECT_EQ(int64_t(all.kept.size()) + dropped, 128);
    EXPECT_LE(dropped, 2);  // a token's last choice may already be its own
  }
}

TEST(Capacity, AGroupIsASequenceOrTheBatch) {
  MoeConfig c = config("token_major", .5);
  const Tensor twice = matrix(Rows{kLogits[0], kLogits[1], kLogits[0], kLogits[1]});
  c.capacity_tokens = 2;  // C = 1
  EXPECT_EQ(kept(route(c, twice, context({2, 2}))),
            (Kept{{0, 0}, {0, 2}, {1, 0}, {1, 2}, {3, 1}, {3, 3}}));
  c.capacity_group = "batch";  // still C = 1, for both sequences together
  EXPECT_EQ(kept(route(c, twice, context({2, 2}))), (Kept{{0, 0}, {1, 0}, {3, 1}}));
}

TEST(Capacity, EvaluationIsDroplessUnlessItSaysOtherwise) {
  MoeConfig c = config("probability", .5);
  EXPECT_EQ(route(c, matrix(kLogits), context({4}), false).kept.size(), 8u);
  c.capacity_eval = "token_major";
  EXPECT_EQ(kept(route(c, matrix(kLogits), context({4}), false)),
            (Kept{{0, 0}, {1, 0}, {2, 2}, {3, 1}}));
  const auto router = make_router(c, 4, DType::f64);
  EXPECT_FALSE(router->causal(true));
  EXPECT_TRUE(router->causal(false));
  EXPECT_TRUE(make_router(config("token_major", 1), 4, DType::f64)->causal(true));
}

TEST(Capacity, ASequenceThatGoesOnKeepsItsCounts) {
  MoeConfig c = config("token_major", .5);
  c.capacity_eval = "token_major";
  const auto router = make_router(c, 4, DType::f64);
  ExpertsTaken taken;
  Kept got;
  for (int t = 0; t < 4; ++t) {
    ForwardContext ctx = context({1});
    ctx.taken_B = {&taken};
    for (const Pick& p : router->route_logits(Var(matrix(Rows{kLogits[size_t(t)]})), ctx).kept)
      got.emplace_back(p.expert, t);
  }
  std::ranges::sort(got);
  EXPECT_EQ(got, (Kept{{0, 0}, {1, 0}, {2, 2}, {3, 1}}));
}

TEST(Capacity, TheFactorIsSteeredToTheWantedDropRate) {
  MoeConfig c = config("token_major", 3);
  c.n_experts = 8;
  c.capacity_tokens = 256;
  c.capacity_target_drop = 0.1;
  const auto router = make_router(c, 8, DType::f64);
  ASSERT_EQ(testing::buffers_of(*router).size(), 1u);
  double rate = 0;
  for (uint64_t step = 0; step < 200; ++step) {
    ForwardContext ctx = context({256});
    ctx.training = true;
    const RouterStats stats = router->route_logits(Var(random_logits(256, 8, step)), ctx).stats;
    int64_t dropped = 0;
    for (const int64_t n : stats.dropped_E) dropped += n;
    if (step >= 150) rate += double(dropped) / 512 / 50;
    router->after_step(stats);
  }
  EXPECT_NEAR(rate, 0.1, 0.02);
}

TEST(Capacity, MeaninglessRulesAreRefused) {
  ModelConfig m;
  m.has_moe = true;
  m.moe.router = "expert_choice";
  m.moe.capacity_factor = 1;
  EXPECT_THROW(resolve_layers(m), Error);
  m.moe.router = "hierarchical";
  m.moe.capacity_overflow = "reroute";
  EXPECT_THROW(resolve_layers(m), Error);
}

}  // namespace
}  // namespace moe
