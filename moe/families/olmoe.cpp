// SPDX-License-Identifier: MIT
// OLMoE (arXiv:2409.02060): experts in every layer, weights not renormalised, RMSNorm over the
// whole q and k row.
#include "moe/families/families.h"
#include "moe/families/hf_config.h"

namespace moe {
namespace {

ModelConfig read(const JsonReader& c) {
  ModelConfig m = read_llama_like(c, {.norm_eps = 1e-5});
  MOE_CHECK(!c.has("clip_qkv"), c.what(), ": clip_qkv is not supported");
  m.qk_norm = "per_row";
  m.qkv_bias = m.o_bias = c.boolean_or("attention_bias", false);
  m.has_moe = true;
  m.moe.layers = "all";
  m.moe.n_experts = read_size(c, c.has("num_experts") ? "num_experts" : "num_local_experts");
  m.moe.top_k = read_size(c, "num_experts_per_tok");
  m.moe.d_ff = m.d_ff;
  m.moe.norm_topk_prob = c.boolean_or("norm_topk_prob", false);
  m.moe.aux_loss_weight = c.number_or("router_aux_loss_coef", 0.01) * double(m.moe.top_k);
  m.moe.z_loss_weight = 0;
  read_training_keys(c, m);
  return m;
}

Family::Written write(const ModelConfig& m) {
  if (!m.has_moe) return {{}, "is a Mixture of Experts"};
  Family::Written w = write_llama_like(m);
  if (!w.reason.empty()) return w;
  for (const LayerConfig& layer : resolve_layers(m))
    if (!layer.moe) return {{}, "has experts in every layer"};
  if (m.moe.router != "top_k" || m.moe.softmax != "before_topk")
    return {{}, "has the top_k router with softmax before top-k"};
  if (m.moe.n_shared_experts > 0) return {{}, "has no shared experts"};
  if (m.qk_norm != "per_row") return {{}, "has QK norm over whole rows"};
  if (m.sliding_window > 0) return {{}, "has no sliding window"};
  if (m.head_dim * m.n_heads != m.d_model) return {{}, "has head_dim = hidden_size / heads"};
  if (m.qkv_bias != m.o_bias || m.mlp_bias)
    return {{}, "has attention biases on q, k, v and o together and none in the FFN"};
  JsonObject& c = w.config;
  c.erase("head_dim");
  c["architectures"] = JsonArray{"OlmoeForCausalLM"};
  c["attention_bias"] = m.qkv_bias;
  c["clip_qkv"] = nullptr;
  c["intermediate_size"] = m.moe.d_ff;
  c["num_experts"] = m.moe.n_experts;
  c["num_experts_per_tok"] = m.moe.top_k;
  c["norm_topk_prob"] = m.moe.norm_topk_prob;
  c["router_aux_loss_coef"] = hf_aux_coefficient(m.moe);
  c["output_router_logits"] = false;
  return w;
}

}  // namespace

const Family kOlmoe = {"olmoe", read, write, hf_places};

}  // namespace moe
