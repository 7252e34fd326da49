// SPDX-License-Identifier: MIT
// Qwen2 / Qwen2.5 (arXiv:2412.15115): Llama with biases on q, k, v. Qwen3 (arXiv:2505.09388):
// per-head QK norm instead. Qwen3-MoE: the same with top-k softmax experts.
#include "moe/families/families.h"
#include "moe/families/hf_config.h"

namespace moe {
namespace {

// use_sliding_window and max_window_layers, or layer_types, which says it layer by layer.
void read_window(const JsonReader& c, ModelConfig& m) {
  if (!c.boolean_or("use_sliding_window", false) || !c.has("sliding_window")) return;
  m.sliding_window = read_size(c, "sliding_window");
  const int64_t first = c.integer_or("max_window_layers", 28);
  std::function<bool(int64_t)> windowed = [first](int64_t i) { return i >= first; };
  if (c.has("layer_types")) {
    const Json& types = c.at("layer_types");
    MOE_CHECK(types.is_array() && int64_t(types.get_array().size()) == m.n_layers, c.what(),
              ": layer_types must name each of the ", m.n_layers, " layers");
    std::vector<bool> sliding;
    for (const Json& type : types.get_array()) {
      MOE_CHECK(type.is_string() && (type.get_string() == "full_attention" ||
                                     type.get_string() == "sliding_attention"),
                c.what(),
                ": layer_types holds something other than full_attention and sliding_attention");
      sliding.push_back(type.get_string() == "sliding_attention");
    }
    windowed = [sliding](int64_t i) { return bool(sliding[size_t(i)]); };
  }
  m.window_layers = layer_list(m.n_layers, windowed);
}

void write_window(const ModelConfig& m, JsonObject& c) {
  c["use_sliding_window"] = m.sliding_window > 0;
  c["sliding_window"] = m.sliding_window > 0 ? Json(m.sliding_window) : Json(nullptr);
  JsonArray types;
  int64_t first = 0;
  for (const LayerConfig& layer : resolve_layers(m)) {
    types.push_back(layer.window > 0 ? "sliding_attention" : "full_attention");
    if (layer.window == 0) first = layer.index + 1;
  }
  c["layer_types"] = types;
  c["max_window_layers"] = first;
}

ModelConfig read_qwen2(const JsonReader& c) {
  ModelConfig m = read_llama_like(c);
  m.qkv_bias = true;
  read_window(c, m);
  read_training_keys(c, m);
  return m;
}

Family::Written write_qwen2(const ModelConfig& m) {
  Family::Written w = write_llama_like(m);
  if (!w.reason.empty()) return w;
  if (m.has_moe) return {{}, "has no experts"};
  if (m.qk_norm != "false") return {{}, "has no QK norm"};
  if (!m.qkv_bias || m.o_bias || m.mlp_bias) return {{}, "has biases on q, k and v only"};
  w.config["architectures"] = JsonArray{"Qwen2ForCausalLM"};
  write_window(m, w.config);
  return w;
}

ModelConfig read_qwen3(const JsonReader& c) {
  ModelConfig m = read_llama_like(c, {.head_dim = 128});
  m.qk_norm = "true";
  m.qkv_bias = m.o_bias = c.boolean_or("attention_bias", false);
  read_window(c, m);
  read_training_keys(c, m);
  return m;
}

// What Qwen3 and Qwen3-MoE share; windows are theirs.
Family::Written write_qwen3_attention(const ModelConfig& m) {
  Family::Written w = write_llama_like(m);
  if (!w.reason.empty()) return w;
  if (m.qk_norm != "true") return {{}, "has per-head QK norm"};
  if (m.qkv_bias != m.o_bias || m.mlp_bias)
    return {{}, "has attention biases on q, k, v and o together and none in the FFN"};
  w.config["attention_bias"] = m.qkv_bias;
  return w;
}

Family::Written write_qwen3(const ModelConfig& m) {
  if (m.has_moe) return {{}, "has no experts"};
  Family::Written w = write_qwen3_attention(m);
  if (!w.reason.empty()) return w;
  w.config["architectures"] = JsonArray{"Qwen3ForCausalLM"};
  write_window(m, w.config);
  return w;
}

ModelConfig read_qwen3_moe(const JsonReader& c) {
  ModelConfig m = read_llama_like(c);
  m.qk_norm = "true";
  m.qkv_bias = m.o_bias = c.boolean_or("attention_bias", false);
  // Here the window is every layer's: transformers looks neither at max_window_layers nor at
  // layer_types.
  if (c.boolean_or("use_sliding_window", false) && c.has("sliding_window"))
    m.sliding_window = read_size(c, "sliding_window");
  m.has_moe = true;
  m.moe.n_experts = read_size(c, c.has("num_experts") ? "num_experts" : "num_local_experts");
  m.moe.top_k = read_size(c, "num_experts_per_tok");
  m.moe.d_ff = read_size(c, "moe_intermediate_size");
  m.moe.norm_topk_prob = c.boolean_or("norm_topk_prob", false);
  m.moe.aux_loss_weight = c.number_or("router_aux_loss_coef", 0.001) * double(m.moe.top_k);
  m.moe.z_loss_weight = 0;
  std::vector<bool> dense(size_t(m.n_layers),
                          false);  // layers that there are not are named in vain
  if (c.has("mlp_only_layers")) {
    MOE_CHECK(c.at("mlp_only_layers").is_array(), c.what(), ": mlp_only_layers must be a list");
    for (const Json& layer : c.at("mlp_only_layers").get_array()) {
      MOE_CHECK(layer.is_int64(), c.what(), ": mlp_only_layers must hold integers");
      const int64_t i = layer.get_int64();
      if (i >= 0 && i < m.n_layers) dense[size_t(i)] = true;
    }
  }
  const int64_t step = c.integer_or("decoder_sparse_step", 1);
  MOE_CHECK(step >= 1, c.what(), ": decoder_sparse_step is ", step, ", it must be 1 or more");
  m.moe.layers =
      layer_list(m.n_layers, [&](int64_t i) { return !dense[size_t(i)] && (i + 1) % step == 0; });
  read_training_keys(c, m);
  return m;
}

Family::Written write_qwen3_moe(const ModelConfig& m) {
  if (!m.has_moe) return {{}, "is a Mixture of Experts"};
  if (m.moe.router != "top_k" || m.moe.softmax != "before_topk")
    return {{}, "has the top_k router with softmax before top-k"};
  if (m.moe.n_shared_experts > 0) return {{}, "has no shared experts"};
  for (const LayerConfig& layer : resolve_layers(m))
    if (layer.window != m.sliding_window) return {{}, "has the same window in every layer"};
  Family::Written w = write_qwen3_attention(m);
  if (!w.reason.empty()) return w;
  JsonObject& c = w.config;
  c["use_sliding_window"] = m.sliding_window > 0;
  c["sliding_window"] = m.sliding_window > 0 ? Json(m.sliding_window) : Json(nullptr);
  c["architectures"] = JsonArray{"Qwen3MoeForCausalLM"};
  c["num_experts"] = m.moe.n_experts;
  c["num_experts_per_tok"] = m.moe.top_k;
  c["moe_intermediate_size"] = m.moe.d_ff;
  c["norm_topk_prob"] = m.moe.norm_topk_prob;
  c["decoder_sparse_step"] = 1;
  JsonArray dense;
  for (const LayerConfig& layer : resolve_layers(m))
    if (!layer.moe) dense.push_back(layer.index);
  c["mlp_only_layers"] = dense;
  c["router_aux_loss_coef"] = hf_aux_coefficient(m.moe);
  c["output_router_logits"] = false;
  return w;
}

}  // namespace

const Family kQwen2 = {"qwen2", read_qwen2, write_qwen2, hf_places};
const Family kQwen3 = {"qwen3", read_qwen3, write_qwen3, hf_places};
const Family kQwen3Moe = {"qwen3_moe", read_qwen3_moe, write_qwen3_moe, hf_places};

}  // namespace moe
