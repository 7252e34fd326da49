// SPDX-License-Identifier: MIT
// Published models and small teaching sizes by name, for the calculator: as configuration keys
// where our model can be that model, with the numbers of the publication beside them.
#pragma once

#include <string>
#include <vector>

#include "moe/nn/accounting.h"

namespace moe {

/// Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434), for counting alone.
struct LatentAttention {
  int64_t q_rank = 0;  // 0: queries straight from the width
  int64_t kv_rank = 0, nope_dim = 0, rope_dim = 0, v_dim = 0;
  explicit operator bool() const { return kv_rank > 0; }
};

struct Preset {
  std::string name, source;
  std::vector<std::string> keys =
      {};  // "model.d_model=4096"; empty: our model cannot be that model
  LatentAttention latent = {};
  bool router_bias = false;  // E more numbers a MoE layer (selection bias)
  bool qkv_bias = true;      // false: where all else has biases, q, k and v have none
  double published_total = 0, published_active = 0;  // 0: no source says
  std::string note = {};
};

const std::vector<Preset>& presets();
/// Throws Error (usage) naming the nearest preset.
const Preset& find_preset(const std::string& name);

/// The model to count: configuration and what a configuration does not say.
struct CountedModel {
  ModelConfig config;
  LatentAttention latent = {};
  bool router_bias = false, qkv_bias = true;
};
CountedModel counted_model(const Preset& preset, const std::vector<std::string>& overrides);
ParameterCount count_parameters(const CountedModel& model);
/// Numbers that one token leaves in the key/value cache, all layers.
double kv_numbers_per_token(const CountedModel& model);

}  // namespace moe
