// SPDX-License-Identifier: MIT
// Low-rank adapters (LoRA, Hu et al. 2021, arXiv:2106.09685): y = W x + s B A drop(x), W frozen, on
// any linear map of the model, each routed expert's own included, on the embedding and on the head;
// with learned magnitudes of its rows: nn/dora.h. A model may carry several; one at a time is in
// use.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "moe/base/config.h"
#include "moe/nn/forward_context.h"
#include "moe/nn/module.h"

namespace moe {

/// LoRA experts on each dense network (nn/moe/moe_lora.h).
struct MoeLoraConfig {
  int64_t n_experts = 0;  // 0: none
  int64_t top_k = 2;
  double aux_loss_weight = 0.01;

  bool operator==(const MoeLoraConfig&) const = default;
};

struct LoraConfig {
  std::string targets = {};  // by commas, see parse in add_adapter; empty: no adapter
  int64_t rank = 8;
  double alpha = 16;
  std::string scaling = "alpha_over_r";  // s = alpha / r | alpha | rslora: alpha / sqrt(r)
  double dropout = 0;                    // of A's input, in training
  bool share_experts = false;            // one pair for all routed experts of a layer
  bool use_dora = false;                 // rows of W + s B A keep a learned length
  MoeLoraConfig moe_lora = {};

  bool is_on() const { return !targets.empty() || moe_lora.n_experts > 0; }
  bool operator==(const LoraConfig&) const = default;
};
/// s of y = W x + s B A x (rsLoRA: Kalajdzievski 2023, arXiv:2312.03732).
double lora_scale(const LoraConfig& config);
void add_lora_keys(ConfigTable& table, LoraConfig& config);

class NormCache;

/// The adapter of one stored weight, which may hold several named matrices one below the other.
struct LoraPart {
  int adapter = 0;  // its number in the model
  int64_t rank = 0;
  double scale = 1, dropout = 0;
  bool shared = false;  // one pair for all experts
  bool embedding = false;
  bool mixture = false;         // one pair for each LoRA expert of a dense network
  std::vector<size_t> targets;  // which of the names
  Var a;                    // [targets * rank, in], or one per expert; of an embedding [V, rank]
  std::vector<Var> b;       // of each target: [rows, rank], or one per expert
  std::vector<Var> m = {};  // DoRA, of each target: [rows, 1], or one per expert; else none
  std::shared_ptr<NormCache> norms = {};  // DoRA
};
using LoraParts = std::vector<LoraPart>;

/// Where an adapter can be put: what a module shows of its weight.
struct LoraSite {
  std::string prefix;              // "model.layers.0.self_attn."
  std::vector<std::string> names;  // "q_proj" ...
  std::vector<int64_t> sizes;      // rows of each
  Var weight;
  Role role = Role::matrix;
  bool embedding = false;
  std::shared_ptr<LoraParts> parts;

  int64_t n_experts() const { return weight.shape().rank() == 3 ? weight.size(0) : 0; }
  /// "model.layers.0.mlp.experts.3.up_proj"; expert < 0: without a number.
  std::string path(size_t name, int64_t expert) const;
};

/// Of the pairs of LoRA expert e: "model.layers.0.mlp.moe_lora.experts.3.up_proj".
std::string mixture_path(const LoraSite& site, size_t name, int64_t expert);

/// The part that is in use in this pass; null: none, or one of a mixture.
const LoraPart* active_part(const std::shared_ptr<LoraParts>& parts, const ForwardContext& ctx);

/// s B A drop(x) in the columns that the weight makes; arguments as below.
Var lora_delta(const LoraPart& part, const Var& weight, const std::vector<int64_t>& sizes,
               const Var& x_RI, const Tensor& offsets_E1, const Tensor& token_R,
               const std::string& name, const ForwardContext& ctx);

/// What the weight makes of rows x with the part: W x + bias + s B A drop(x). DoRA: W x + (g - 1) W
/// drop(x) + g s B A drop(x) + bias with g = m / norm, which without dropout is W' x + bias; PEFT's
/// sum. offsets_E1: of rows grouped by expert, null for a plain matrix; token_R: the token of each
/// row, null: row r is token r. name keys the draws of the dropout.
Var adapted_linear(const LoraPart& part, const Var& weight, const Var& bias,
                   const std::vector<int64_t>& sizes, const Var& x_RI, const Tensor& offsets_E1,
                   const Tensor& token_R, const std::string& name, const ForwardContext& ctx);

/// Rows of the embedding table with the part.
Var adapted_embedding(const LoraPart& part, const Var& table_VD, const Tensor& ids_T);

class TransformerLM;

/// Puts a new adapter on the model, A drawn from U(-1/sqrt(in), 1/sqrt(in)) and B zero (of an
/// embedding A zero and B normal), so that the model computes what it did; returns its number.
/// targets: attention, ffn, experts, shared, router, embedding, head, all-linear (every matrix of
/// the blocks but the router's), a matrix's name (q_proj), or a pattern of whole names
/// (*.layers.3.mlp.*). Throws Error (usage) for one that nothing answers to. With
/// config.moe_lora every dense network gets LoRA experts and a router; then no target may be one of
/// its matrices, and a model with routed experts is refused.
int add_adapter(TransformerLM& model, const LoraConfig& config, uint64_t seed);

/// The same for matrices that were chosen one by one, each with its own rank.
struct LoraChoice {
  LoraSite site;
  std::vector<size_t> targets;
  LoraConfig config;
  bool mixture = false;  // LoRA experts; all matrices of all dense networks, or none
};
int put_adapter(TransformerLM& model, const std::vector<LoraChoice>& chosen, uint64_t seed);
/// Takes the latest adapter off again.
void drop_adapter(TransformerLM& model, int adapter);

/// Its parameters, in forward order: names end in ".lora_A.weight", ".lora_B.weight"
/// and, of DoRA, ".lora_magnitude_vector"; routers of a mixture are ".moe_lora.gate.weight".
std::vector<Parameter> adapter_parameters(const TransformerLM& model, int adapter);

/// One weight with its adapter, W + s B A or DoRA's: row-major [rows, in]. target: index into
/// part.targets; expert < 0: a plain matrix.
Tensor merged_rows(const LoraSite& site, const LoraPart& part, size_t target, int64_t expert);
/// Adds an adapter to the weights and takes all adapters off. The embedding of a tied model cannot
/// take one, and a mixture is no matrix: throws Error.
void merge_adapter(TransformerLM& model, int adapter);

/// No gradient reaches the model's own weights from now on.
void freeze(const TransformerLM& model);

}  // namespace moe
