// SPDX-License-Identifier: MIT
// Growth and back: what must be equal is, and counts follow.
#include "moe/families/surgery.h"

#include <cmath>
#include <gtest/gtest.h>

#include "moe/base/error.h"
#include "moe/nn/init.h"

namespace moe {
namespace {

ModelConfig small() {
  ModelConfig c;
  c.n_layers = 2;
  c.d_model = 24;
  c.n_heads = 2;
  c.n_kv_heads = 2;
  c.head_dim = 12;
  c.d_ff = 36;
  c.max_seq_len = 32;
  c.vocab_size = 30;
  return c;
}

Tensor logits(const TransformerLM& model) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 30; ++i) ids.push_back(i * 7 % 30);
  return model.logits(model(pack_sequences({ids})).hidden_TD).value();
}
double difference(const TransformerLM& a, const TransformerLM& b) {
  const Tensor x = logits(a), y = logits(b);
  double most = 0;
  for (size_t i = 0; i < size_t(x.numel()); ++i)
    most = std::max(most, double(std::fabs(x.data<float>()[i] - y.data<float>()[i])));
  return most;
}

TEST(Upcycle, TheFirstForwardIsThatOfTheDenseModel) {
  for (const char* activation : {"swiglu", "gelu"})
    for (const int64_t split : {1, 2, 3}) {
      SCOPED_TRACE(str(activation, " split ", split));
      ModelConfig c = small();
      c.activation = activation;
      const TransformerLM dense(c);
      initialize(dense, 3);
      const auto moe = upcycle(dense, {.copies = 4, .top_k = 2, .split = split});
      EXPECT_EQ(moe->config().moe.n_experts, 4 * split);
      EXPECT_EQ(moe->config().moe.top_k, 2 * split);
      EXPECT_LT(difference(dense, *moe), 1e-5);  // float32 rounding of weights that sum to 1
    }
}

TEST(Upcycle, OnlySomeLayersAndWhatCannotBe) {
  const TransformerLM dense(small());
  initialize(dense, 3);
  const auto moe = upcycle(dense, {.copies = 3, .top_k = 1, .split = 1, .layers = "[1]"});
  EXPECT_LT(difference(dense, *moe), 1e-5);
  EXPECT_THROW(upcycle(dense, {.copies = 4, .top_k = 2, .split = 5}), Error);  // 36 / 5
  EXPECT_THROW(upcycle(dense, {.copies = 2, .top_k = 3}), Error);
  EXPECT_THROW(upcycle(*moe, {}), Error);
}

ModelConfig with_experts() {
  ModelConfig c = small();
  c.has_moe = true;
  c.moe.n_experts = 4;
  c.moe.top_k = 2;
  c.moe.d_ff = 12;
  return c;
}

TEST(Prune, AllExpertsIsTheSameModelAndFewerKeepTheUsed) {
  const TransformerLM model(with_experts());
  initialize(model, 5);
  const std::vector<std::vector<double>> usage(2, {.1, .4, .2, .3});
  EXPECT_EQ(difference(model, *prune_experts(model, 4, usage)), 0);
  const auto two = prune_experts(model, 2, usage);
  EXPECT_EQ(two->config().moe.n_experts, 2);
  // Experts 1 and 3 are now 0 and 1, with their router rows.
  const auto named = [](const TransformerLM& m, const std::string& name) {
    for (const Parameter& p : m.parameters())
      for (const Piece& piece : p.pieces)
        if (piece.name == name) return read_piece(p.var.value(), piece);
    return Tensor();
  };
  EXPECT_TRUE(same_bits(named(*two, "model.layers.1.mlp.experts.1.down_proj.weight"),
                        named(model, "model.layers.1.mlp.experts.3.down_proj.weight")));
  EXPECT_TRUE(same_bits(named(*two, "model.layers.0.mlp.gate.weight").rows(0, 1).clone(),
                        named(model, "model.layers.0.mlp.gate.weight").rows(1, 2).clone()));
  EXPECT_THROW(prune_experts(model, 5, usage), Error);
  EXPECT_THROW(prune_experts(TransformerLM(small()), 1, {}), Error);
}

TEST(Merge, EqualExpertsMergeWithoutLoss) {
  ModelConfig c = with_experts();
  c.moe.norm_topk_prob = true;
  const TransformerLM dense(small());
  initialize(dense, 3);
  const auto model = upcycle(dense, {.copies = 4, .top_k = 2});  // four copies of one network
  const auto merged = merge_experts(*model, 2, {{.25, .25, .25, .25}, {.25, .25, .25, .25}});
  EXPECT_EQ(merged->config().moe.n_experts, 2);
  EXPECT_LT(difference(dense, *merged), 1e-5);
}

TEST(Densify, EqualExpertsBecomeTheirNetwork) {
  const TransformerLM dense(small());
  initialize(dense, 3);
  const auto model = upcycle(dense, {.copies = 4, .top_k = 1});
  const auto back = densify(*model, {{.25, .25, .25, .25}, {.1, .2, .3, .4}});
  EXPECT_FALSE(back->config().has_moe);
  EXPECT_EQ(back->config().d_ff, small().d_ff);
  EXPECT_LT(difference(dense, *back), 1e-5);
  const auto two = upcycle(dense, {.copies = 4, .top_k = 2});
  const auto wide = densify(*two, {{.25, .25, .25, .25}, {.1, .2, .3, .4}});
  EXPECT_EQ(wide->config().d_ff, 2 * small().d_ff);
  EXPECT_LT(difference(dense, *wide), 1e-5);
}

}  // namespace
}  // namespace moe
