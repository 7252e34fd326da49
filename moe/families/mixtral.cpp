// SPDX-License-Identifier: MIT
// Mixtral (arXiv:2401.04088): Llama with top-k experts in every layer, weights renormalised; w1
// gate, w3 up, w2 down.
#include "moe/families/families.h"
#include "moe/families/hf_config.h"

namespace moe {
namespace {

ModelConfig read(const JsonReader& c) {
  ModelConfig m = read_llama_like(c, {.norm_eps = 1e-5, .rope_theta = 1e6});
  m.has_moe = true;
  m.moe.layers = "all";
  m.moe.n_experts = read_size(c, c.has("num_local_experts") ? "num_local_experts" : "num_experts");
  m.moe.top_k = read_size(c, "num_experts_per_tok");
  m.moe.d_ff = m.d_ff;
  m.moe.norm_topk_prob = true;
  // Their loss counts every pick (f sums to k), ours divides by k.
  m.moe.aux_loss_weight = c.number_or("router_aux_loss_coef", 0.001) * double(m.moe.top_k);
  m.moe.z_loss_weight = 0;
  if (c.has("sliding_window")) m.sliding_window = read_size(c, "sliding_window");
  read_training_keys(c, m);
  return m;
}

Family::Written write(const ModelConfig& m) {
  if (!m.has_moe) return {{}, "is a Mixture of Experts"};
  Family::Written w = write_llama_like(m);
  if (!w.reason.empty()) return w;
  for (const LayerConfig& layer : resolve_layers(m)) {
    if (!layer.moe) return {{}, "has experts in every layer"};
    if (layer.window != m.sliding_window) return {{}, "has the same window in every layer"};
  }
  if (m.moe.router != "top_k" || m.moe.softmax != "before_topk" || !m.moe.norm_topk_prob)
    return {{}, "has the top_k router with renormalised weights"};
  if (m.moe.n_shared_experts > 0) return {{}, "has no shared experts"};
  if (m.qk_norm != "false") return {{}, "has no QK norm"};
  if (m.qkv_bias || m.o_bias || m.mlp_bias) return {{}, "has no biases"};
  JsonObject& c = w.config;
  c["architectures"] = JsonArray{"MixtralForCausalLM"};
  c["intermediate_size"] = m.moe.d_ff;
  c["num_local_experts"] = m.moe.n_experts;
  c["num_experts_per_tok"] = m.moe.top_k;
  c["router_aux_loss_coef"] = hf_aux_coefficient(m.moe);
  c["router_jitter_noise"] = 0.0;
  c["output_router_logits"] = false;
  c["sliding_window"] = m.sliding_window > 0 ? Json(m.sliding_window) : Json(nullptr);
  return w;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

std::vector<TensorPlace> places(const ModelConfig& m, const std::string& name) {
  std::string own = replaced(name, ".mlp.", ".block_sparse_moe.");
  own = replaced(own, ".gate_proj.", ".w1.");
  own = replaced(own, ".up_proj.", ".w3.");
  own = replaced(own, ".down_proj.", ".w2.");
  std::vector<TensorPlace> out = {{.name = own}};
  for (const TensorPlace& place : hf_places(m, name)) out.push_back(place);
  return out;
}

}  // namespace

const Family kMixtral = {"mixtral", read, write, places};

}  // namespace moe
