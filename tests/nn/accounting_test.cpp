// SPDX-License-Identifier: MIT
// The parameter formula against published models and against what modules really hold.
#include "moe/nn/accounting.h"

#include <gtest/gtest.h>

#include "moe/nn/transformer_lm.h"

namespace moe {
namespace {

TEST(CountParameters, Gpt2Small) {
  ModelConfig c;
  c.n_layers = 12;
  c.d_model = 768;
  c.n_heads = c.n_kv_heads = 12;
  c.head_dim = 64;
  c.d_ff = 3072;
  c.max_seq_len = 1024;
  c.vocab_size = 50257;
  c.norm = "layer_norm";
  c.bias = true;
  c.position = "learned";
  c.activation = "gelu_tanh";
  c.qk_norm = "false";
  EXPECT_EQ(count_parameters(c).total, 124439808);
  EXPECT_EQ(count_parameters(c).active, 124439808);
  EXPECT_EQ(count_parameters(c).embedding, 50257 * 768 + 1024 * 768);
}

ModelConfig qwen3() {
  ModelConfig c;
  c.n_layers = 28;
  c.d_model = 1024;
  c.n_heads = 16;
  c.n_kv_heads = 8;
  c.head_dim = 128;
  c.d_ff = 3072;
  c.vocab_size = 151936;
  return c;
}

TEST(CountParameters, Qwen3Of600Million) { EXPECT_EQ(count_parameters(qwen3()).total, 596049920); }

TEST(CountParameters, Qwen3MoeOf30BillionUses3) {
  ModelConfig c = qwen3();
  c.n_layers = 48;
  c.d_model = 2048;
  c.n_heads = 32;
  c.n_kv_heads = 4;
  c.tie_embeddings = false;
  c.has_moe = true;
  c.moe.n_experts = 128;
  c.moe.top_k = 8;
  c.moe.d_ff = 768;
  EXPECT_EQ(count_parameters(c).total, 30532122624);
  EXPECT_EQ(count_parameters(c).active, 30532122624 - 48 * 120 * (3 * 2048 * 768ll));
}

TEST(CountParameters, Mixtral8x7B) {
  ModelConfig c;
  c.n_layers = 32;
  c.d_model = 4096;
  c.n_heads = 32;
  c.n_kv_heads = 8;
  c.head_dim = 128;
  c.vocab_size = 32000;
  c.tie_embeddings = false;
  c.qk_norm = "false";
  c.has_moe = true;
  c.moe.d_ff = 14336;
  EXPECT_EQ(count_parameters(c).total, 46702792704);
}

void expect_what_the_modules_hold(const ModelConfig& config) {
  const TransformerLM model(config);
  double numbers = 0, stored = 0;
  for (const Parameter& p : model.parameters()) {
    stored += double(p.var.value().stored_numel());
    for (const Piece& piece : p.pieces) numbers += double(piece_shape(p, piece).numel());
  }
  const ParameterCount count = count_parameters(config);
  EXPECT_EQ(count.total, numbers);
  EXPECT_EQ(count.stored, stored);
}

TEST(CountParameters, AgreesWithTheModules) {
  ModelConfig base;
  base.n_layers = 3;
  base.d_model = 20;
  base.n_heads = 4;
  base.n_kv_heads = 2;
  base.head_dim = 6;
  base.d_ff = 33;
  base.max_seq_len = 18;
  base.vocab_size = 37;
  ModelConfig moe = base;
  moe.has_moe = true;
  moe.moe.n_experts = 5;
  moe.moe.d_ff = 17;
  std::vector<ModelConfig> configs = {base, moe};
  auto add = [&](const ModelConfig& from, auto change) {
    configs.push_back(from);
    change(configs.back());
  };
  for (const char* position : {"learned", "sinusoidal", "alibi", "t5", "shaw", "none"})
    add(base, [&](ModelConfig& c) { c.position = position; });
  for (const ModelConfig& from : {base, moe}) {
    add(from, [](ModelConfig& c) { c.bias = true; });
    add(from, [](ModelConfig& c) { c.norm = "layer_norm"; });
    add(from, [](ModelConfig& c) {
      c.norm = "layer_norm";
      c.bias = true;
      c.tie_embeddings = false;
    });
    add(from, [](ModelConfig& c) { c.activation = "relu"; });
    add(from, [](ModelConfig& c) { c.qk_norm = "per_row"; });
    add(from, [](ModelConfig& c) { c.qk_norm = "false"; });
    add(from, [](ModelConfig& c) { c.qkv_bias = true; });
    add(from, [](ModelConfig& c) { c.o_bias = true; });
    add(from, [](ModelConfig& c) { c.mlp_bias = true; });
    add(from, [](ModelConfig& c) { c.attention_sink = true; });
    add(from, [](ModelConfig& c) { c.layer_scale = 0.5; });
    add(from, [](ModelConfig& c) {
      c.ngram_order = 4;
      c.ngram_buckets = 21;
    });
  }
  add(moe, [](ModelConfig& c) { c.moe.layers = "every:2"; });
  add(moe, [](ModelConfig& c) { c.moe.n_shared_experts = 2; });
  add(moe, [](ModelConfig& c) {
    c.moe.n_shared_experts = 1;
    c.moe.shared_d_ff = 11;
    c.moe.shared_gate = true;
  });
  add(moe, [](ModelConfig& c) {
    c.moe.router = "longcat";
    c.moe.n_identity_experts = 3;
  });
  add(moe, [](ModelConfig& c) {
    c.moe.router = "moe_pp";
    c.moe.n_identity_experts = c.moe.n_zero_experts = 1;
    c.moe.n_constant_experts = 2;
  });
  for (const char* kind : {"linear", "mlp_relu", "mlp_gelu", "swiglu"})
    add(moe, [&](ModelConfig& c) {
      c.activation = "geglu";
      c.moe.expert = kind;
      c.moe.expert_bias = true;
      c.moe.n_shared_experts = 2;
    });
  for (const char* router : {"sigmoid_bias", "expert_choice"})
    add(moe, [&](ModelConfig& c) { c.moe.router = router; });
  for (size_t i = 0; i < configs.size(); ++i) {
    SCOPED_TRACE(i);
    expect_what_the_modules_hold(configs[i]);
  }
}

// Two picks among four experts and four outputs without weights: one expert for a token.
TEST(CountParameters, OutputsWithoutWeightsTakeTheirShareOfThePicks) {
  ModelConfig c = qwen3();
  c.has_moe = true;
  c.moe.n_experts = 4;
  c.moe.top_k = 1;
  c.moe.d_ff = 768;
  const double one = count_parameters(c).active;
  c.moe.router = "longcat";
  c.moe.top_k = 2;
  EXPECT_EQ(expert_picks(c.moe), 2);
  c.moe.n_identity_experts = 4;
  EXPECT_EQ(expert_picks(c.moe), 1);
  // The router's own matrix has four more rows.
  EXPECT_EQ(count_parameters(c).active - one, double(4 * c.d_model * c.n_layers));
}

}  // namespace
}  // namespace moe
