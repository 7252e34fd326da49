// SPDX-License-Identifier: MIT
// The shape and function of a model: plain structs with defaults, one table of keys, and their
// resolution into one LayerConfig per layer.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "moe/base/config.h"

namespace moe {

/// Rotary frequency scaling of Llama 3 (formula in nn/positions.cpp); type "none" or "llama3".
struct RopeScaling {
  std::string type = "none";
  double factor = 1, low_freq_factor = 1, high_freq_factor = 4;
  int64_t original_max_seq_len = 8192;
  bool operator==(const RopeScaling&) const = default;
};

struct MoeConfig {
  std::string layers = "all";  // all | [2,5,8,11] | every:2 | first_dense:1 | 16-31
  int64_t n_experts = 8, top_k = 2, d_ff = 512;
  std::string expert =
      "default";  // default: model.activation | linear | mlp_relu | mlp_gelu | swiglu
  bool expert_bias = false;
  int64_t n_shared_experts =
      0;  // one FFN of n_shared_experts * d_ff (or shared_d_ff) that every token takes
  int64_t shared_d_ff = 0;   // 0: n_shared_experts * d_ff
  bool shared_gate = false;  // sigmoid gate on the shared experts' output (Qwen2-MoE)
  std::string router = "top_k";
  std::string softmax = "before_topk";  // over all experts, or after_topk: over the chosen ones
  bool norm_topk_prob = true;           // chosen probabilities divided by their sum
  std::string balance_loss = "switch";  // what aux_loss_weight multiplies (nn/moe/aux_loss.h)
  double aux_loss_weight = 0.01, z_loss_weight = 0.001, router_l2_weight = 0;
  int64_t n_devices = 1;  // groups of experts for the next two (DeepSeek-V2)
  double device_loss_weight = 0, communication_loss_weight = 0;
  int64_t n_group = 1, topk_group = 1;  // groups (sigmoid_bias, group_limited, hierarchical)
  int64_t cosine_dim = 256;             // cosine: width in which token and expert are compared
  int64_t slots_per_expert = 4;         // soft_slots, in each sequence
  double routed_scaling_factor = 1;
  double bias_update_rate = 1e-3;  // selection bias per optimiser step (sigmoid_bias, longcat)
  int64_t n_identity_experts = 0;  // longcat, moe_pp: copies
  int64_t n_constant_experts = 2, n_zero_experts = 1;  // moe_pp
  double zero_computation_weight = 0.75;               // moe_pp: tau
  double router_jitter = 0.01;  // switch: the router's input times U(1 - jitter, 1 + jitter)
  std::string second_expert_policy = "random";  // gshard: all | threshold | random
  double second_expert_threshold = 0.2;
  double threshold = 0.4, entropy_weight = 1e-4;  // top_p
  double target_experts = 0;                      // top_p: steers the threshold; 0: fixed
  double capacity_factor = 0;                     // 0: dropless
  std::string capacity_formula = "tokens_k", capacity_rounding = "ceil";
  int64_t capacity_min = 1;
  int64_t capacity_tokens = 0;  // of a sequence; 0: data.seq_len in training
  std::string capacity_order = "token_major", capacity_group = "sequence",
              capacity_overflow = "drop", capacity_eval = "none";
  double capacity_target_drop = 0;  // 0: the factor is fixed
  // Cures for routers that collapse, in training only.
  double expert_dropout = 0, router_noise = 0;
  int64_t uniform_start_steps = 0, router_warmup_steps = 0;
  bool normalize_expert_outputs = false;
  bool allow_noncausal = false;
  bool operator==(const MoeConfig&) const = default;
};

/// Experts that a token takes, identity experts included: top_k, or what the router fixes (switch
/// 1, gshard 2, dense all). Where tokens differ (expert_choice, relu), the number aimed at; top_p
/// counts top_k.
int64_t experts_per_token(const MoeConfig& config);
/// Outputs of the router's gate: experts and those that compute next to nothing.
int64_t router_outputs(const MoeConfig& config);
/// [out, in] of the router's own matrices (1 by 1: a number): none for hash and random.
std::vector<std::array<int64_t, 2>> router_matrices(const MoeConfig& config, int64_t d_model);

struct ModelConfig {
  int64_t n_layers = 6, d_model = 384, n_heads = 6, n_kv_heads = 6, head_dim = 64, d_ff = 1024,
          max_seq_len = 256;
  int64_t vocab_size = 0;  // 0: the tokenizer's
  std::string norm = "rms_norm";
  double norm_eps = 1e-6;
  bool bias = false;  // everywhere: q, k, v, o, FFN, LayerNorm
  bool qkv_bias = false, o_bias = false, mlp_bias = false;
  std::string position = "rope";
  double rope_theta = 10000;
  RopeScaling rope_scaling;
  int64_t relative_buckets = 32,
          relative_max_distance = 128;  // t5; shaw clips at relative_max_distance
  int64_t sliding_window = 0;
  std::string window_layers = "all";  // which layers use sliding_window, same grammar as moe.layers
  double attention_softcap = 0;
  bool attention_sink = false;
  std::string activation = "swiglu";
  std::string qk_norm = "true";  // true: per head; per_row: over the whole projected row; false
  bool tie_embeddings = true;
  int64_t ngram_order = 0, ngram_buckets = 32768;  // n-gram hash embeddings; order 0: none
  double layer_scale = 0, dropout = 0, ngram_dropout = 0;
  double neftune_alpha = 0;  // noise on the embeddings in training; 0: none
  std::string init_from;
  bool has_moe = false;
  MoeConfig moe;

  bool operator==(const ModelConfig&) const = default;
  bool is_gated() const;  // swiglu, geglu, reglu
};

/// A feed-forward network: gated (swiglu ...), plain (gelu, relu ...), or "linear", one [D, D]
/// matrix whatever d_ff is.
struct FeedForwardShape {
  int64_t d_ff = 0;  // 0: there is none
  std::string activation;
  bool bias = false;

  bool is_linear() const { return activation == "linear"; }
  bool is_gated() const {
    return activation == "swiglu" || activation == "geglu" || activation == "reglu";
  }
  /// [out, in] of its matrices.
  std::vector<std::array<int64_t, 2>> matrices(int64_t d_model) const;
};
FeedForwardShape dense_shape(const ModelConfig& config);
FeedForwardShape expert_shape(const ModelConfig& config);
FeedForwardShape shared_expert_shape(const ModelConfig& config);

/// What one block is made of.
struct LayerConfig {
  int index = 0;
  bool moe = false;
  int64_t window = 0;
};

/// Binds every model key to `config`. The default of a key is the config's value at this moment.
void bind_model_keys(ConfigTable& table, ModelConfig& config);

/// Which of n layers a spec names: "all", "[2,5,8,11]", "every:2" (layers 1, 3, ...: (i + 1) % 2 ==
/// 0), "first_dense:1" (all but the first), "16-31". Throws Error (what was given, what is valid).
std::vector<bool> parse_layer_spec(const std::string& spec, int64_t n_layers,
                                   const std::string& key);

/// Checks every relation between keys (k <= E, heads, even head_dim with RoPE ...) and resolves the
/// layers.
std::vector<LayerConfig> resolve_layers(const ModelConfig& config);

}  // namespace moe
