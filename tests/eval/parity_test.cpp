// SPDX-License-Identifier: MIT
// Principle 1: the bits of the logits do not depend on batch, threads, cache, chunks, packing or
// kernel table; and the check can fail.
#include "moe/eval/parity.h"

#include <gtest/gtest.h>

#include "moe/infer/generate.h"
#include "moe/nn/init.h"
#include "moe/nn/moe/routers.h"

namespace moe {
namespace {

ModelConfig tiny(bool with_experts) {
  ModelConfig c;
  c.n_layers = 2;
  c.d_model = 20;
  c.n_heads = 4;
  c.n_kv_heads = 2;
  c.head_dim = 6;
  c.d_ff = 35;
  c.max_seq_len = 70;
  c.vocab_size = 33;
  c.has_moe = with_experts;
  c.moe.n_experts = 5;
  c.moe.top_k = 2;
  c.moe.d_ff = 19;
  return c;
}

ParityReport parity_of(const ModelConfig& config) {
  const TransformerLM model(config);
  initialize(model, 3);
  return check_parity(model, all_f32_tables(), 1);
}

TEST(Parity, DenseModelOfOddSizes) { EXPECT_EQ(parity_of(tiny(false)).first_difference, ""); }
TEST(Parity, MixtureOfExperts) { EXPECT_EQ(parity_of(tiny(true)).first_difference, ""); }

TEST(Parity, Adapters) {
  const LoraConfig everywhere = {.targets = "all-linear,embedding,head", .rank = 3};
  LoraConfig dora = everywhere, mixture = {.targets = "attention", .rank = 3};
  dora.use_dora = true;
  mixture.moe_lora = {.n_experts = 3, .top_k = 2};
  for (const LoraConfig& config : {everywhere, dora, mixture}) {
    TransformerLM model(tiny(config.moe_lora.n_experts == 0));
    initialize(model, 3);
    const int adapter = add_adapter(model, config, 4);
    const RngStream draws(5, 0, "adapter");
    int64_t n = 0;
    for (const Parameter& p : adapter_parameters(model, adapter)) {
      ++n;
      for (const Piece& piece : p.pieces) {
        const Tensor values = read_piece(p.var.value(), piece);
        for (int64_t i = 0; i < values.numel(); ++i)
          values.data<float>()[size_t(i)] += float(0.3 * draws.normal(i, n));
        write_piece(p.var.value(), piece, values);
      }
    }
    model.use_adapter(adapter);
    EXPECT_EQ(check_parity(model, all_f32_tables(), 1).first_difference, "");
  }
}

TEST(Parity, EveryOtherBlockOption) {
  ModelConfig c = tiny(true);
  c.norm = "layer_norm";
  c.bias = true;
  c.activation = "gelu";
  c.position = "alibi";
  c.sliding_window = 9;
  c.attention_sink = true;
  c.moe.router = "sigmoid_bias";
  c.moe.n_shared_experts = 1;
  c.moe.shared_gate = true;
  EXPECT_EQ(parity_of(c).first_difference, "");
  c.position = "t5";
  c.moe = tiny(true).moe;
  c.moe.router = "longcat";
  c.moe.n_identity_experts = 2;
  EXPECT_EQ(parity_of(c).first_difference, "");
}

TEST(Parity, NgramEmbeddingsAcrossCutsOfTheirSequence) {
  ModelConfig c = tiny(true);
  c.ngram_order = 4;
  c.ngram_buckets = 50;
  const TransformerLM model(c);
  initialize(model, 3);
  for (const Parameter& p : model.parameters())
    if (ends_with(p.name, "embed_ngrams.weight")) {
      const std::span<float> w = p.var.value().data<float>();
      for (size_t i = 0; i < w.size(); ++i) w[i] = 0.01f * float(int64_t(i % 17) - 8);
    }
  EXPECT_EQ(check_parity(model, all_f32_tables(), 1).first_difference, "");
}

// Room that earlier tokens took travels with the cache.
TEST(Parity, ExpertCapacityByPosition) {
  ModelConfig c = tiny(true);
  c.moe.capacity_factor = 0.5;
  c.moe.capacity_tokens = 48;
  c.moe.capacity_eval = "token_major";
  EXPECT_EQ(parity_of(c).first_difference, "");
  c.moe.capacity_overflow = "reroute";
  c.moe.router = "sigmoid_bias";
  EXPECT_EQ(parity_of(c).first_difference, "");
}

TEST(Parity, EveryCausalRouter) {
  for (const std::string& router : router_names()) {
    SCOPED_TRACE(router);
    ModelConfig c = tiny(true);
    c.moe.router = router;
    c.moe.n_experts = 6;
    if (router == "hierarchical") c.moe.n_group = c.moe.topk_group = 2;
    c.moe.cosine_dim = 8;
    if (make_router(c.moe, c.d_model, DType::f32)->causal(false)) {
      EXPECT_EQ(parity_of(c).first_difference, "");
    }
  }
}

// A sum that is one step off for batches only.
void wrong_add(MatView y, MatView a, MatView b) {
  ref_kernels<float>().add(y, a, b);
  if (y.rows > 1) y.at<float>(y.rows - 1, 0) = std::nextafter(y.at<float>(y.rows - 1, 0), 1e9f);
}

TEST(Parity, AWrongTwinOfOneKernelIsFound) {
  const TransformerLM model(tiny(true));
  initialize(model, 3);
  Kernels planted = ref_kernels<float>();
  planted.add = wrong_add;
  const ParityReport report = check_parity(model, {&planted}, 1);
  EXPECT_GT(report.differing_bits, 0);
  EXPECT_NE(report.first_difference, "");
}

TEST(Causality, ALaterTokenChangesNoEarlierLogit) {
  const TransformerLM model(tiny(true));
  initialize(model, 5);
  std::vector<int32_t> ids(40);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = int32_t(7 * i % 33);
  auto logits = [&](const std::vector<int32_t>& x) {
    return model.logits(model(pack_sequences({x})).hidden_TD).value();
  };
  const Tensor before = logits(ids);
  for (const size_t changed : {size_t{1}, size_t{17}, size_t{39}}) {
    std::vector<int32_t> other = ids;
    other[changed] = (other[changed] + 1) % 33;
    const Tensor after = logits(other);
    EXPECT_TRUE(same_bits(before.rows(0, int64_t(changed)), after.rows(0, int64_t(changed))));
    EXPECT_FALSE(same_bits(before.rows(int64_t(changed), 40), after.rows(int64_t(changed), 40)));
  }
}

TEST(Generation, ARouterThatSeesLaterTokensIsRefused) {
  ModelConfig c = tiny(true);
  c.moe.router = "expert_choice";
  const TransformerLM model(c);
  initialize(model, 1);
  EXPECT_THROW(
      generate(model, {{.prompt_ids = {1, 2}, .max_new_tokens = 3, .sampler = {}, .stop_ids = {}}}),
      Error);
}

}  // namespace
}  // namespace moe
