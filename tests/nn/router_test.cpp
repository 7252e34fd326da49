// SPDX-License-Identifier: MIT
// What single routers do beyond the conformance list: the three forms of top-k, selection biases,
// groups, capacity of expert choice, identity experts.
#include "router_testing.h"

namespace moe {
namespace {

using testing::buffers_of;
using testing::choices;
using testing::context;
using testing::identity_router;
using testing::matrix;
using testing::Rows;
using testing::scalar;
using testing::weights;

MoeConfig config(const char* router, int64_t E, int64_t k) {
  MoeConfig c;
  c.router = router;
  c.n_experts = E;
  c.top_k = k;
  c.aux_loss_weight = c.z_loss_weight = 0;
  return c;
}

// Logits whose sigmoids are these.
Rows logits_of_sigmoids(Rows rows) {
  for (auto& row : rows)
    for (double& s : row) s = std::log(s / (1 - s));
  return rows;
}
Rows logs(Rows rows) {
  for (auto& row : rows)
    for (double& v : row) v = std::log(v);
  return rows;
}

RouterTotals totals(int64_t n_tokens, std::vector<int64_t> counts) {
  RouterTotals t(counts.size());
  t.n_tokens = n_tokens;
  t.counts_E = std::move(counts);
  return t;
}

std::vector<float> bias(const Router& router) {
  const std::span<float> b = buffers_of(router).at(0).value.data<float>();
  return {b.begin(), b.end()};
}

// p = (1, 2, 3, 4) / 10: the probabilities; divided by their sum; the softmax of the two logits,
// which is the same.
TEST(TopKRouter, ThreeFormsOfTheWeights) {
  const Tensor x = matrix(logs({{1, 2, 3, 4}}));
  MoeConfig c = config("top_k", 4, 2);
  auto weight_of_3 = [&] {
    const Routing routing = identity_router(c)->route(Var(x), context({1}));
    return weights(routing, x).at({0, 3});
  };
  EXPECT_NEAR(weight_of_3(), 4. / 7, 1e-15);
  c.softmax = "after_topk";
  EXPECT_NEAR(weight_of_3(), 4. / 7, 1e-15);
  c.softmax = "before_topk";
  c.norm_topk_prob = false;
  EXPECT_NEAR(weight_of_3(), 0.4, 1e-15);
}

// d w_3 / d z for p = (1, 2, 3, 4) / 10. Normalised or after top-k: w = p_3 / (p_2 + p_3), so
// (0, 0, -12, 12) / 49. As it is: p_3 ([i = 3] - p_i), which is not 0 for experts not chosen.
TEST(TopKRouter, OnlyPlainProbabilitiesMoveExpertsThatWereNotChosen) {
  const Tensor x = matrix(logs({{1, 2, 3, 4}}));
  auto gradient = [&](const MoeConfig& c) {
    const Var input(x.clone(), true);
    Tape tape;
    const Routing routing = identity_router(c)->route(input, context({1}));
    // Rows of a constant: only the weights depend on the input.
    const Tensor rows = Tensor::zeros({2, 4}, DType::f64);
    rows.view().at<double>(1, 0) = 1;  // expert 3's row
    const Var y = routing.dispatch->combine(Var(rows), Var(x));
    y.grad().data<double>()[0] = 1;
    tape.backward_from_grads();
    const std::span<double> g = input.grad().data<double>();
    return std::vector<double>{g.begin(), g.end()};
  };
  auto expect = [](const std::vector<double>& got, const std::vector<double>& want) {
    for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(got[i], want[i], 1e-15) << i;
  };
  MoeConfig c = config("top_k", 4, 2);
  expect(gradient(c), {0, 0, -12. / 49, 12. / 49});
  c.softmax = "after_topk";
  expect(gradient(c), {0, 0, -12. / 49, 12. / 49});
  c.softmax = "before_topk";
  c.norm_topk_prob = false;
  expect(gradient(c), {-.04, -.08, -.12, .24});
}

TEST(TopKRouter, AllExpertsAndOneExpert) {
  const Tensor x = matrix(logs({{1, 2, 3, 4}}));
  const Routing all = identity_router(config("top_k", 4, 4))->route(Var(x), context({1}));
  const auto w = weights(all, x);
  for (int e = 0; e < 4; ++e) EXPECT_NEAR(w.at({0, e}), (e + 1) / 10., 1e-15);
  const Tensor one = matrix({{0.3}, {-7}});
  const Routing single = identity_router(config("top_k", 1, 1))->route(Var(one), context({2}));
  const auto w1 = weights(single, one);
  EXPECT_EQ(w1.at({0, 0}), 1);
  EXPECT_EQ(w1.at({1, 0}), 1);
}

// b_e += u sign(mean count - count): the mean of 5, 1, 3, 3 is 3.
TEST(SigmoidBiasRouter, StepsTheBiasByTheSignOfTheImbalance) {
  MoeConfig c = config("sigmoid_bias", 4, 2);
  c.bias_update_rate = 0.25;
  const auto router = identity_router(c);
  EXPECT_EQ(bias(*router), (std::vector<float>{0, 0, 0, 0}));
  router->after_step(totals(6, {5, 1, 3, 3}));
  EXPECT_EQ(bias(*router), (std::vector<float>{-0.25f, 0.25f, 0, 0}));
  router->after_step(totals(6, {6, 6, 0, 0}));
  EXPECT_EQ(bias(*router), (std::vector<float>{-0.5f, 0, 0.25f, 0.25f}));
  router->after_step(totals(6, {3, 3, 3, 3}));
  router->after_step(totals(0, {0, 0, 0, 0}));
  EXPECT_EQ(bias(*router), (std::vector<float>{-0.5f, 0, 0.25f, 0.25f}));
}

// s = .9 .8 .6 .5; the bias lifts the last two over the others, whose weights stay .6 and .5 over
// their sum.
TEST(SigmoidBiasRouter, TheBiasChoosesButDoesNotWeigh) {
  const auto router = identity_router(config("sigmoid_bias", 4, 2));
  const Tensor x = matrix(logits_of_sigmoids({{.9, .8, .6, .5}}));
  const Tensor b = buffers_of(*router).at(0).value;
  b.data<float>()[2] = b.data<float>()[3] = 1;
  const Routing routing = router->route(Var(x), context({1}));
  EXPECT_EQ(choices(routing.picks), (std::map<std::pair<int, int>, int>{{{0, 2}, 0}, {{0, 3}, 1}}));
  const auto w = weights(routing, x);
  EXPECT_NEAR(w.at({0, 2}), 6. / 11, 1e-15);
  EXPECT_NEAR(w.at({0, 3}), 5. / 11, 1e-15);
}

// Groups of two. Their sums of two are 1.0, 1.1, 0.85, 1.1: groups 1 and 3 are open, and the best
// three of .6 .5 .4 .7 are experts 7, 2, 3. (By the best single score, groups 0 and 2 would be.)
TEST(SigmoidBiasRouter, TakesTheGroupsWithTheBestTwoScores) {
  MoeConfig c = config("sigmoid_bias", 8, 3);
  c.n_group = 4;
  c.topk_group = 2;
  c.routed_scaling_factor = 2.5;
  const Tensor x = matrix(logits_of_sigmoids({{.9, .1, .6, .5, .8, .05, .4, .7}}));
  const Routing routing = identity_router(c)->route(Var(x), context({1}));
  EXPECT_EQ(choices(routing.picks),
            (std::map<std::pair<int, int>, int>{{{0, 7}, 0}, {{0, 2}, 1}, {{0, 3}, 2}}));
  const auto w = weights(routing, x);  // over .7 + .6 + .5
  EXPECT_NEAR(w.at({0, 7}), 2.5 * 7 / 18, 1e-14);
  EXPECT_NEAR(w.at({0, 2}), 2.5 * 6 / 18, 1e-14);
  EXPECT_NEAR(w.at({0, 3}), 2.5 * 5 / 18, 1e-14);
}

// Closed groups are out of the question, not worth 0: biased scores below 0 of open ones still win.
TEST(SigmoidBiasRouter, NegativeScoresOfOpenGroupsBeatClosedGroups) {
  MoeConfig c = config("sigmoid_bias", 4, 2);
  c.n_group = 2;
  c.topk_group = 1;
  const auto router = identity_router(c);
  const Tensor b = buffers_of(*router).at(0).value;
  std::ranges::fill(b.data<float>(), -2.0f);
  const Tensor x = matrix(logits_of_sigmoids({{.1, .9, .6, .7}}));  // sums 1.0 and 1.3
  const Routing routing = router->route(Var(x), context({1}));
  EXPECT_EQ(choices(routing.picks), (std::map<std::pair<int, int>, int>{{{0, 3}, 0}, {{0, 2}, 1}}));
}

// E = 2 real and Z = 2 identity experts, k = 2, 8 tokens: 16 picks, the wanted share is 1 / 4.
// Expert 0 has 6 picks (share 3 / 8), expert 1 has 2 (1 / 8); identity experts are left alone.
TEST(LongcatRouter, StepsTheBiasOfRealExpertsInProportion) {
  MoeConfig c = config("longcat", 2, 2);
  c.n_identity_experts = 2;
  c.bias_update_rate = 0.5;
  const auto router = identity_router(c);
  router->after_step(totals(8, {6, 2, 7, 1}));
  EXPECT_EQ(bias(*router), (std::vector<float>{-0.0625f, 0.0625f, 0, 0}));
  router->after_step(totals(8, {4, 4, 8, 0}));
  router->after_step(totals(0, {0, 0, 0, 0}));
  EXPECT_EQ(bias(*router), (std::vector<float>{-0.0625f, 0.0625f, 0, 0}));
}

// p = (1, 2, 3, 4) / 10, experts 2 and 3 are identities. A bias of 1 lifts expert 0 to the top; its
// weight stays p x scale.
TEST(LongcatRouter, TheBiasChoosesButDoesNotWeigh) {
  MoeConfig c = config("longcat", 2, 2);
  c.n_identity_experts = 2;
  c.routed_scaling_factor = 3;
  const auto router = identity_router(c);
  buffers_of(*router).at(0).value.data<float>()[0] = 1;
  const Tensor x = matrix(logs({{1, 2, 3, 4}}));
  const Routing routing = router->route(Var(x), context({1}));
  EXPECT_EQ(choices(routing.picks), (std::map<std::pair<int, int>, int>{{{0, 0}, 0}, {{0, 3}, 1}}));
  EXPECT_NEAR(weights(routing, x).at({0, 0}), 0.3, 1e-15);
}

// Two identity experts taken by one token: y = 3 (.3 + .4) x, no row goes to an expert, and the
// gradient of x through the identity is the weight.
TEST(LongcatRouter, IdentityExpertsReturnTheirInput) {
  MoeConfig c = config("longcat", 2, 2);
  c.n_identity_experts = 2;
  c.routed_scaling_factor = 3;
  const Tensor logits = matrix(logs({{1, 2, 3, 4}}));
  const Tensor x = matrix({{5, -1, 0.5, 2}});
  Tape tape;
  const Routing routing = identity_router(c)->route(Var(logits), context({1}));
  const Var input(x.clone(), true);
  const ExpertRows rows = routing.dispatch->dispatch(input);
  EXPECT_EQ(rows.rows_RD().size(0), 0);
  for (const int32_t offset : rows.offsets_E1.data<int32_t>()) EXPECT_EQ(offset, 0);
  const Var y = routing.dispatch->combine(rows.rows_RD(), input);
  for (int64_t d = 0; d < 4; ++d)
    EXPECT_NEAR(y.value().data<double>()[size_t(d)], 2.1 * x.data<double>()[size_t(d)], 1e-14);
  y.grad().data<double>()[2] = 1;
  tape.backward_from_grads();
  EXPECT_NEAR(input.grad().data<double>()[2], 2.1, 1e-14);
  EXPECT_EQ(input.grad().data<double>()[1], 0);
}

TEST(Router, SelectionBiasesAreSavedAsBuffersAndAreNoParameters) {
  for (const char* name : {"sigmoid_bias", "longcat"}) {
    MoeConfig c = config(name, 3, 2);
    const auto router = make_router(c, 5, DType::f64);
    const std::vector<Buffer> buffers = buffers_of(*router);
    ASSERT_EQ(buffers.size(), 1u);
    EXPECT_EQ(buffers[0].name, "gate.e_score_correction_bias");
    EXPECT_EQ(buffers[0].value.dtype(), DType::f32);
    EXPECT_EQ(buffers[0].value.shape().text(), "[3]");
    EXPECT_EQ(testing::parameters_of(*router).size(), 1u);
  }
}

// Two sequences of 5 and 1 tokens, 2 experts, k = 1: C = ceil(5 / 2) = 3 and ceil(1 / 2) = 1,
// within each sequence. Column by column: expert 0 likes tokens 3 (.9), 0 (.8), 4 (.6); expert 1 1
// (.9), 2 (.7), 4
// (.4). Token 5 is taken by both.
TEST(ExpertChoiceRouter, EachExpertTakesItsBestTokensOfEachSequence) {
  const Tensor x = matrix(logs({{8, 2}, {1, 9}, {3, 7}, {9, 1}, {6, 4}, {2, 8}}));
  const Routing routing =
      identity_router(config("expert_choice", 2, 1))->route(Var(x), context({5, 1}));
  const Picks want = {{0, 0, 0}, {0, 3, 0}, {0, 4, 0}, {0, 5, 0},
                      {1, 1, 0}, {1, 2, 0}, {1, 4, 0}, {1, 5, 0}};
  EXPECT_EQ(routing.picks, want);
  const auto w = weights(routing, x);
  EXPECT_NEAR(w.at({3, 0}), .9, 1e-15);
  EXPECT_NEAR(w.at({4, 0}), .6, 1e-15);
  EXPECT_NEAR(w.at({4, 1}), .4, 1e-15);
  EXPECT_EQ(routing.stats.counts_E, (std::vector<int64_t>{4, 4}));
}

// A token that no expert wants gets zeros: token 1 is nobody's best of two.
TEST(ExpertChoiceRouter, ATokenThatNobodyTakesGetsZeros) {
  const Tensor x = matrix(logs({{9, 1, 8}, {5, 5, 5}, {1, 9, 8.5}}));
  const Routing routing =
      identity_router(config("expert_choice", 3, 1))->route(Var(x), context({3}));
  EXPECT_EQ(routing.picks, (Picks{{0, 0, 0}, {1, 2, 0}, {2, 2, 0}}));
  const ExpertRows rows = routing.dispatch->dispatch(Var(x));
  const Tensor y = routing.dispatch->combine(rows.rows_RD(), Var(x)).value();
  for (const double v : y.rows(1, 2).data<double>()) EXPECT_EQ(v, 0);
}

// a_0 x + a_1 v with a = softmax(W_c x), worked out from the parameters.
TEST(MoePlusPlusRouter, ConstantExpertsMixTheTokenWithAVector) {
  MoeConfig c = config("moe_pp", 2, 2);
  c.n_constant_experts = c.n_zero_experts = 1;
  const auto router = make_router(c, 4, DType::f64);
  const Tensor gate = matrix({{0, 0, 0, 1}, {0, 0, 0, 0}, {0, 0, 9, 0}, {0, 8, 0, 0}}),
               mix = matrix({{.5, 0, 1, 0}, {0, 1, 0, -2}}), v = matrix({{1}, {-2}, {3}, {.5}});
  for (const Parameter& p : testing::parameters_of(*router)) {
    const std::string& name = p.pieces[0].name;
    write_piece(p.var.value(), p.pieces[0],
                ends_with(name, "constant_experts.0.gate.weight")     ? mix
                : ends_with(name, "constant_experts.0.vector.weight") ? v
                : ends_with(name, "gate_residual.weight") ? Tensor::zeros({4, 4}, DType::f64)
                                                          : gate);
  }
  // The constant expert, 2, wins, then the zero expert, 3, whose weight goes to the other.
  const Tensor x = matrix({{1, 2, 3, -1}});
  const Routing r = router->route(Var(x), context({1}));
  ASSERT_EQ(r.picks.size(), 2u);
  EXPECT_EQ(r.picks[0].expert, 2);
  EXPECT_EQ(r.picks[1].expert, 3);
  const ExpertRows rows = r.dispatch->dispatch(Var(x));
  EXPECT_EQ(rows.rows_RD().size(0), 0);
  const Tensor y = r.dispatch->combine(rows.rows_RD(), Var(x)).value();
  const double z0 = .5 * 1 + 3, z1 = 2 + 2, a0 = 1 / (1 + std::exp(z1 - z0));
  const double want[4] = {1, -2, 3, .5};
  for (int64_t d = 0; d < 4; ++d)
    EXPECT_NEAR(y.view().at<double>(0, d),
                a0 * x.view().at<double>(0, d) + (1 - a0) * want[size_t(d)], 1e-14);
}

// Logits of the layer before join through the gating residual.
TEST(MoePlusPlusRouter, HearsTheLogitsOfTheLayerBefore) {
  MoeConfig c = config("moe_pp", 3, 1);
  c.n_zero_experts = 1;
  c.n_constant_experts = 0;
  const auto router = identity_router(c);  // gate and residual are the identity
  ForwardContext ctx = context({1});
  const Tensor x = matrix({{1, 0, 0, 0}});
  EXPECT_EQ(router->route(Var(x), ctx).picks[0].expert, 0);
  ctx.previous_router_logits_TE = Var(matrix({{0, 0, 2, 0}}));
  const Routing r = router->route(Var(x), ctx);
  EXPECT_EQ(r.picks[0].expert, 2);
  EXPECT_EQ(r.router_logits_TE.value().view().at<double>(0, 2), 2);
}

TEST(TopPRouter, TheControllerSteersTheMeanNumberOfExperts) {
  MoeConfig c = config("top_p", 8, 2);
  c.threshold = 0.9;
  c.target_experts = 3;
  const auto router = identity_router(c);
  const RngStream rng(3, 0, "top_p");
  Rows rows(200, std::vector<double>(8));
  for (size_t t = 0; t < rows.size(); ++t)
    for (size_t e = 0; e < 8; ++e) rows[t][e] = rng.normal(int64_t(t), int64_t(e));
  const auto mean = [&] {
    const Routing r = router->route(Var(matrix(rows)), context({200}));
    router->after_step(r.stats);
    return double(r.picks.size()) / 200;
  };
  EXPECT_GT(mean(), 4);
  for (int i = 0; i < 200; ++i) mean();
  EXPECT_NEAR(mean(), 3, 0.2);
  ASSERT_EQ(testing::buffers_of(*router).size(), 1u);  // travels with the checkpoint
  EXPECT_LT(testing::buffers_of(*router)[0].value.data<float>()[0], 0.9f);
}

}  // namespace
}  // namespace moe
