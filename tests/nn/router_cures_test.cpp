// SPDX-License-Identifier: MIT
// What helps a router that collapses: noise, warm-up, a uniform start, closed experts, experts of
// one loudness. Each acts in training alone.
#include "moe/nn/moe/moe_layer.h"

#include "router_testing.h"

namespace moe {
namespace {

using testing::context;
using testing::identity_router;
using testing::matrix;
using testing::Rows;

MoeConfig config() {
  MoeConfig c;
  c.n_experts = 8;
  c.top_k = 2;
  c.z_loss_weight = 0;
  return c;
}

// Every token prefers expert 0, then 1.
Tensor alike(int64_t T) { return matrix(Rows(size_t(T), {5, 4, 0, 0, 0, 0, 0, 0})); }

Routing route(const MoeConfig& c, int64_t T, uint64_t step, bool training = true) {
  ForwardContext ctx = context({T});
  ctx.training = training;
  ctx.rng = {.seed = 7, .step = step};
  return identity_router(c)->route(Var(alike(T)), ctx);
}

int64_t used(const Routing& r) {
  int64_t n = 0;
  for (const int64_t count : r.stats.counts_E) n += count > 0;
  return n;
}

TEST(RouterCures, AUniformStartSpreadsTokensAndThenEnds) {
  MoeConfig c = config();
  c.uniform_start_steps = 3;
  const Routing r = route(c, 4000, 2);
  // 1,000 expected for each, standard deviation sqrt(4,000 x 1/4 x 3/4) = 27.
  for (const int64_t count : r.stats.counts_E) EXPECT_NEAR(double(count), 1000, 140);
  EXPECT_EQ(used(route(c, 100, 3)), 2);
  EXPECT_EQ(used(route(c, 100, 0, false)), 2);
}

TEST(RouterCures, NoiseOnLogitsMovesSelection) {
  MoeConfig c = config();
  c.router_noise = 5;
  EXPECT_EQ(used(route(c, 500, 0)), 8);
  EXPECT_EQ(used(route(c, 500, 0, false)), 2);
  EXPECT_EQ(route(c, 500, 4).picks, route(c, 500, 4).picks);  // keyed draws
  EXPECT_NE(route(c, 500, 4).picks, route(c, 500, 5).picks);
}

TEST(RouterCures, WarmUpFlattensTheFirstProbabilities) {
  MoeConfig c = config();
  c.router_warmup_steps = 10;
  const auto entropy = [&](uint64_t step) { return route(c, 1, step).stats.entropy_sum; };
  EXPECT_GT(entropy(0), 0.95 * std::log(8));  // logits at a tenth
  EXPECT_GT(entropy(0), entropy(5));
  EXPECT_EQ(entropy(9), route(c, 1, 0, false).stats.entropy_sum);  // all of them
}

TEST(RouterCures, ExpertDropoutClosesWholeExpertsAndLeavesEnough) {
  MoeConfig c = config();
  c.expert_dropout = 0.4;
  double closed = 0;
  for (uint64_t step = 0; step < 1000; ++step) {
    const Routing r = route(c, 3, step);
    EXPECT_EQ(used(r), 2);  // all tokens alike: the two best that are open
    closed += r.stats.counts_E[0] == 0;
  }
  // Standard deviation sqrt(.24 / 1,000) = 0.015.
  EXPECT_NEAR(closed / 1000, 0.4, 0.07);
  c.expert_dropout = 0.99;
  for (uint64_t step = 0; step < 50; ++step) EXPECT_EQ(route(c, 3, step).picks.size(), 6u);
  const Routing evaluated = route(c, 3, 0, false);
  EXPECT_EQ(evaluated.stats.counts_E[0], 3);
}

// A balance that is computed over all experts would fill, or forever punish, a closed one.
TEST(RouterCures, ExpertDropoutIsRefusedWhereAllExpertsAreBalanced) {
  ModelConfig m;
  m.has_moe = true;
  m.moe.expert_dropout = 0.1;
  EXPECT_NO_THROW(resolve_layers(m));
  for (const char* router : {"base", "sinkhorn", "quantile"}) {
    m.moe.router = router;
    EXPECT_THROW(resolve_layers(m), Error) << router;
  }
}

TEST(RouterCures, NormalisedOutputsHaveOneLoudness) {
  ModelConfig m;
  m.d_model = 8;
  m.has_moe = true;
  m.moe = config();
  m.moe.top_k = 1;
  m.moe.norm_topk_prob = true;  // weight 1
  m.moe.d_ff = 4;
  m.moe.normalize_expert_outputs = true;
  const MoeLayer layer(m, DType::f64);
  Visitor v;
  v.parameter = [&](const Parameter& p) {
    const std::span<double> w = p.var.value().data<double>();
    for (size_t i = 0; i < w.size(); ++i)
      w[i] = std::sin(double(i)) * (p.role == Role::router ? 1 : 100);
  };
  layer.visit(v);
  const Tensor y = layer(Var(alike(4)), context({4})).y_TD.value();
  for (int64_t t = 0; t < 4; ++t) {
    double squares = 0;
    for (int64_t d = 0; d < 8; ++d)
      squares += y.view().at<double>(t, d) * y.view().at<double>(t, d);
    EXPECT_NEAR(squares / 8, 1, 1e-6);
  }
}

}  // namespace
}  // namespace moe
