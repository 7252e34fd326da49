// SPDX-License-Identifier: MIT
// What the config.json files of the Llama-like families share.
#pragma once

#include <functional>

#include "moe/families/family.h"

namespace moe {

/// An integer that counts something: 1 .. max.
int64_t read_size(const JsonReader& config, const char* key, int64_t max = (int64_t{1} << 24) - 1);
/// num_hidden_layers and the like: at most as many as a model may have.
int64_t read_layer_count(const JsonReader& config, const char* key);

/// What a family's config.json means by a key that is absent (transformers' class defaults).
struct HfDefaults {
  double norm_eps = 1e-6, rope_theta = 10000;
  int64_t head_dim = 0;  // 0: hidden_size / num_attention_heads
};

/// Sizes, norm, RoPE (both spellings: rope_theta + rope_scaling, and rope_parameters), activation,
/// tying. qk_norm is set to false, max_seq_len to max_position_embeddings.
ModelConfig read_llama_like(const JsonReader& config, const HfDefaults& defaults = {});

/// The same keys back; an error text when the model has something that no Llama-like family has.
Family::Written write_llama_like(const ModelConfig& config);

/// Layers for which f holds, as "[0,2]" ("all" when it is every one).
std::string layer_list(int64_t n_layers, const std::function<bool(int64_t)>& f);

/// transformers' router_aux_loss_coef for the model's balance loss: its form counts each of the k
/// picks, so its value is k times ours.
double hf_aux_coefficient(const MoeConfig& config);
/// What read_training_keys reads.
JsonObject training_keys(const ModelConfig& model);
/// Loss weights and dropout: training keys that no family defines our way are kept under "moe_cpp"
/// so that our own files read back exactly.
void read_training_keys(const JsonReader& config, ModelConfig& model);

/// A piece under its own name, or, for an expert's matrix, also inside the stacked tensors that
/// transformers 5 keeps in memory (experts.gate_up_proj [E, 2 F, D], gate half first;
/// experts.down_proj [E, D, F]).
std::vector<TensorPlace> hf_places(const ModelConfig& config, const std::string& piece_name);

}  // namespace moe
