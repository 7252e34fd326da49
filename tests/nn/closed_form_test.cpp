// SPDX-License-Identifier: MIT
// Losses whose value is known without computing: balance losses of uniform and one-hot routes,
// perplexity of uniform logits.
#include <cmath>
#include <gtest/gtest.h>

#include "moe/nn/init.h"
#include "moe/nn/moe/balance_losses.h"
#include "moe/nn/transformer_lm.h"
#include "moe/ops/cross_entropy.h"

namespace moe {
namespace {

double scalar(const Var& v) { return v.value().data<double>()[0]; }

ForwardContext tokens(int64_t T) { return pack_sequences({std::vector<int32_t>(size_t(T), 0)}); }

TEST(SwitchLoss, UniformLoadsAndScoresGiveExactlyOne) {
  for (const int64_t E : {1, 2, 8, 64}) {
    const std::vector<double> p(size_t(4 * E), 1.0 / double(E));
    const std::vector<int64_t> counts(size_t(E), 3);
    EXPECT_EQ(scalar(switch_loss(Var(Tensor::from<double>({4, E}, p)), counts, tokens(4))), 1);
  }
}

// With P uniform the loads do not matter: sum f = 1.
TEST(SwitchLoss, UniformScoresGiveExactlyOneWhateverTheLoads) {
  const std::vector<float> p(4 * 8, 0.125f);
  EXPECT_EQ(
      scalar(switch_loss(Var(Tensor::from<float>({4, 8}, p)), {4, 4, 0, 0, 0, 0, 0, 0}, tokens(4))),
      1);
}

TEST(SwitchLoss, OneExpertForAllGivesE) {
  for (const int64_t E : {1, 3, 8}) {
    std::vector<double> p(size_t(5 * E), 0);
    for (int64_t t = 0; t < 5; ++t) p[size_t(t * E + E - 1)] = 1;
    std::vector<int64_t> counts(size_t(E), 0);
    counts.back() = 5;
    EXPECT_EQ(scalar(switch_loss(Var(Tensor::from<double>({5, E}, p)), counts, tokens(5))), E);
  }
}

TEST(SwitchLoss, PaddingDoesNotCount) {
  ForwardContext ctx = tokens(3);
  const std::vector<uint8_t> valid = {1, 0, 1};
  ctx.valid_T = Tensor::from<uint8_t>({3}, valid);
  const std::vector<double> p = {1, 0, 0, 1, 1, 0};  // the middle row is padding
  EXPECT_EQ(scalar(switch_loss(Var(Tensor::from<double>({3, 2}, p)), {2, 0}, ctx)), 2);
}

// logsumexp of E zeros is log E.
TEST(RouterZLoss, ZeroLogitsGiveTheSquareOfLogE) {
  EXPECT_DOUBLE_EQ(scalar(router_z_loss(Var(Tensor::zeros({3, 8}, DType::f64)), tokens(3))),
                   std::log(8.0) * std::log(8.0));
}

ModelConfig tiny() {
  ModelConfig c;
  c.n_layers = 2;
  c.d_model = 16;
  c.n_heads = c.n_kv_heads = 2;
  c.head_dim = 8;
  c.d_ff = 20;
  c.vocab_size = 23;
  return c;
}

// A router of zeros is uniform, so every MoE layer's balance loss is its weight.
TEST(MoeModel, AZeroRouterPaysExactlyTheBalanceWeightInEachLayer) {
  ModelConfig c = tiny();
  c.has_moe = true;
  c.moe.d_ff = 12;
  c.moe.aux_loss_weight = 0.25;
  c.moe.z_loss_weight = 0;
  const TransformerLM model(c);
  initialize(model, 1);
  for (const Parameter& p : model.parameters())
    if (p.role == Role::router) p.var.value().fill_zero();
  const LmOutput out = model(pack_sequences({{1, 2, 3, 4, 5}}));
  ASSERT_EQ(out.moe_layers.size(), 2u);
  EXPECT_EQ(out.moe_layers[0].stats.balance_loss, 0.25);
  EXPECT_EQ(scalar(out.aux_loss), 0.5);
}

TEST(Perplexity, UniformLogitsGiveTheVocabulary) {
  const TransformerLM model(tiny(), DType::f64);  // all zero: every logit is 0
  const std::vector<int32_t> targets = {3, 1, 22, 0, -1};
  const LmOutput out = model(pack_sequences({{1, 3, 1, 22, 0}}));
  const Var loss =
      ops::cross_entropy(model.logits(out.hidden_TD), Tensor::from<int32_t>({5}, targets), 4);
  EXPECT_NEAR(std::exp(scalar(loss)), 23, 1e-13);
}

}  // namespace
}  // namespace moe
