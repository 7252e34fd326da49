// SPDX-License-Identifier: MIT
// The whole model in double: every parameter's gradient along random directions against central
// differences.
#include <gtest/gtest.h>

#include "moe/base/rng.h"
#include "moe/nn/init.h"
#include "moe/nn/transformer_lm.h"
#include "moe/ops/cross_entropy.h"
#include "moe/ops/elementwise.h"

namespace moe {
namespace {

ModelConfig tiny() {
  ModelConfig c;
  c.n_layers = 2;
  c.d_model = 12;
  c.n_heads = 4;
  c.n_kv_heads = 2;
  c.head_dim = 6;
  c.d_ff = 20;
  c.max_seq_len = 16;
  c.vocab_size = 19;
  return c;
}

// Loss (cross-entropy + auxiliary) of two packed sequences.
Var loss_of(const TransformerLM& model, bool training) {
  const std::vector<std::vector<int32_t>> ids = {{1, 5, 7, 2, 18, 3, 3, 9}, {4, 0, 11, 6, 2}};
  ForwardContext ctx = pack_sequences(ids);
  ctx.training = training;
  ctx.rng = {.seed = 3, .step = 2};
  std::vector<int32_t> targets;
  for (const auto& sequence : ids)
    for (size_t i = 0; i < sequence.size(); ++i)
      targets.push_back(i + 1 < sequence.size() ? sequence[i + 1] : -1);
  const LmOutput out = model(ctx);
  return ops::add(ops::cross_entropy(model.logits(out.hidden_TD),
                                     Tensor::from<int32_t>({int64_t(targets.size())}, targets), 11),
                  out.aux_loss);
}

// Perturbs each parameter along a random direction (all of its logical elements) and compares.
// Relative error < 1e-6: of two central differences, (4 D(h) - D(2 h)) / 3 cancels the term in h^2
// (a third derivative of 6,000 was seen, 1e-7 at h = 1e-5); about 5e-11 of rounding in a loss of
// O(1) is left.
void check_gradients(const ModelConfig& config, bool training = false) {
  const TransformerLM model(config, DType::f64);
  initialize(model, 7);
  const std::vector<Parameter> parameters = model.parameters();
  const RngStream noise = Rng{11, 0}.stream("direction");
  for (size_t i = 0; i < parameters.size(); ++i)  // larger weights, so that every path matters
    for (const Piece& piece : parameters[i].pieces) {
      Tensor w = read_piece(parameters[i].var.value(), piece);
      for (size_t j = 0; j < w.data<double>().size(); ++j)
        w.data<double>()[j] += 0.3 * noise.normal(int64_t(j), int64_t(i) + 1000);
      write_piece(parameters[i].var.value(), piece, w);
    }
  {
    Tape tape;
    tape.backward(loss_of(model, training));
  }
  add_up_uses(parameters);
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& p = parameters[i];
    double analytic = 0;
    std::vector<Tensor> saved, direction;
    for (const Piece& piece : p.pieces) {
      saved.push_back(read_piece(p.var.value(), piece));
      direction.push_back(Tensor::zeros(saved.back().shape(), DType::f64));
      const Tensor grad = read_piece(p.var.grad(), piece);
      for (size_t j = 0; j < grad.data<double>().size(); ++j) {
        direction.back().data<double>()[j] =
            noise.normal(int64_t(j), int64_t(i) * 100 + int64_t(saved.size()));
        analytic += grad.data<double>()[j] * direction.back().data<double>()[j];
      }
    }
    auto at = [&](double step) {
      for (size_t k = 0; k < p.pieces.size(); ++k) {
        Tensor w = saved[k].clone();
        for (size_t j = 0; j < w.data<double>().size(); ++j)
          w.data<double>()[j] += step * direction[k].data<double>()[j];
        write_piece(p.var.value(), p.pieces[k], w);
      }
      return loss_of(model, training).value().data<double>()[0];
    };
    auto slope = [&](double h) { return (at(h) - at(-h)) / (2 * h); };
    const double h = 1e-5, numeric = (4 * slope(h) - slope(2 * h)) / 3;
    at(0);
    EXPECT_NEAR(analytic, numeric, 1e-6 * std::max(1e-2, std::abs(numeric))) << p.name;
  }
}

TEST(ModelGradient, DenseLlamaStyle) { check_gradients(tiny()); }

TEST(ModelGradient, UntiedWithEveryBiasAndLayerNorm) {
  ModelConfig c = tiny();
  c.tie_embeddings = false;
  c.bias = true;
  c.norm = "layer_norm";
  c.activation = "gelu_tanh";
  c.position = "learned";
  c.qk_norm = "false";
  check_gradients(c);
}

TEST(ModelGradient, GatedWithBiases) {
  ModelConfig c = tiny();
  c.bias = true;
  c.activation = "geglu";
  c.qk_norm = "per_row";
  check_gradients(c);
}

TEST(ModelGradient, EveryPositionKind) {
  for (const char* position : {"sinusoidal", "alibi", "t5", "shaw", "none"}) {
    SCOPED_TRACE(position);
    ModelConfig c = tiny();
    c.position = position;
    c.relative_buckets = 4;
    c.relative_max_distance = position == std::string("shaw") ? 3 : 6;
    check_gradients(c);
  }
}

TEST(ModelGradient, NgramEmbeddingsWithFewBuckets) {
  ModelConfig c = tiny();
  c.ngram_order = 3;
  c.ngram_buckets = 5;  // so that n-grams share rows
  check_gradients(c);
  c.ngram_dropout = 0.4;
  check_gradients(c, true);
}

TEST(ModelGradient, WindowSinkSoftCapAndLayerScale) {
  ModelConfig c = tiny();
  c.sliding_window = 3;
  c.window_layers = "[1]";
  c.attention_sink = true;
  c.attention_softcap = 2;
  c.layer_scale = 0.5;
  check_gradients(c);
}

TEST(ModelGradient, DropoutWithAFixedKey) {
  ModelConfig c = tiny();
  c.dropout = 0.3;
  check_gradients(c, true);
}

ModelConfig tiny_moe(const std::string& router) {
  ModelConfig c = tiny();
  c.has_moe = true;
  c.moe.router = router;
  c.moe.n_experts = 4;
  c.moe.top_k = 2;
  c.moe.d_ff = 9;
  c.moe.aux_loss_weight = 0.3;
  c.moe.z_loss_weight = 0.1;
  return c;
}

TEST(ModelGradient, TopKRouterInItsThreeForms) {
  ModelConfig c = tiny_moe("top_k");
  check_gradients(c);
  c.moe.norm_topk_prob = false;
  check_gradients(c);
  c.moe.norm_topk_prob = true;
  c.moe.softmax = "after_topk";
  check_gradients(c);
}

TEST(ModelGradient, SharedExpertsPlainAndGated) {
  ModelConfig c = tiny_moe("top_k");
  c.moe.n_shared_experts = 2;
  c.moe.layers = "[1]";
  check_gradients(c);
  c.moe.shared_gate = true;
  check_gradients(c);
}

TEST(ModelGradient, SigmoidBiasWithGroups) {
  ModelConfig c = tiny_moe("sigmoid_bias");
  c.moe.n_group = 2;
  c.moe.topk_group = 1;
  c.moe.routed_scaling_factor = 2.5;
  check_gradients(c);
}

TEST(ModelGradient, ExpertChoice) { check_gradients(tiny_moe("expert_choice")); }

TEST(ModelGradient, IdentityExperts) {
  ModelConfig c = tiny_moe("longcat");
  c.moe.n_identity_experts = 3;
  c.moe.top_k = 3;
  check_gradients(c);
}

// The second MoE layer hears of the first one's logits.
TEST(ModelGradient, LightExpertsOfMoePlusPlus) {
  ModelConfig c = tiny_moe("moe_pp");
  c.moe.n_constant_experts = 2;
  c.moe.n_identity_experts = 1;
  c.moe.n_zero_experts = 1;
  c.moe.top_k = 4;
  check_gradients(c);
}

TEST(ModelGradient, EveryKindOfExpert) {
  for (const char* kind : {"linear", "mlp_relu", "mlp_gelu", "swiglu"})
    for (const bool bias : {false, true}) {
      SCOPED_TRACE(std::string(kind) + (bias ? " with biases" : ""));
      ModelConfig c = tiny_moe("top_k");
      c.moe.expert = kind;
      c.moe.expert_bias = bias;
      c.moe.n_shared_experts = bias;
      check_gradients(c);
    }
}

TEST(ModelGradient, BalanceLossOverAllLayers) {
  ModelConfig c = tiny_moe("top_k");
  c.moe.balance_loss = "hf";
  check_gradients(c);
}

TEST(ModelGradient, ExpertsWithBiasesAndPlainFeedForward) {
  ModelConfig c = tiny_moe("top_k");
  c.bias = true;
  check_gradients(c);
  c.activation = "gelu";
  check_gradients(c);
}

}  // namespace
}  // namespace moe
