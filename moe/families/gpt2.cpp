// SPDX-License-Identifier: MIT
// GPT-2 (Radford et al. 2019): LayerNorm with bias, learned positions, tanh GELU, tied head;
// weights stored [in, out], q, k and v fused.
#include "moe/families/families.h"
#include "moe/families/hf_config.h"

namespace moe {
namespace {

ModelConfig read(const JsonReader& c) {
  ModelConfig m;
  m.d_model = read_size(c, "n_embd");
  m.n_layers = read_layer_count(c, "n_layer");
  m.n_heads = m.n_kv_heads = read_size(c, "n_head");
  MOE_CHECK(m.d_model % m.n_heads == 0, c.what(), ": n_embd ", m.d_model,
            " is no multiple of n_head ", m.n_heads);
  m.head_dim = m.d_model / m.n_heads;
  m.d_ff = c.has("n_inner") ? read_size(c, "n_inner") : 4 * m.d_model;
  m.max_seq_len = read_size(c, c.has("n_positions") ? "n_positions" : "n_ctx");
  m.vocab_size = read_size(c, "vocab_size");
  m.norm = "layer_norm";
  m.norm_eps = c.number_or("layer_norm_epsilon", 1e-5);
  m.bias = true;
  m.position = "learned";
  m.qk_norm = "false";
  m.tie_embeddings = c.boolean_or("tie_word_embeddings", true);
  m.dropout = c.number_or("resid_pdrop", 0.1);
  const std::string act = c.string_or("activation_function", "gelu_new");
  if (act == "gelu_new" || act == "gelu_pytorch_tanh")
    m.activation = "gelu_tanh";
  else if (act == "gelu" || act == "relu" || act == "silu")
    m.activation = act;
  else
    throw Error(str(c.what(), ": activation_function '", printable(act, 40),
                    "' is not supported; gelu_new, gelu, relu and silu are"));
  for (const char* key : {"scale_attn_by_inverse_layer_idx", "add_cross_attention"})
    MOE_CHECK(!c.boolean_or(key, false), c.what(), ": ", key, " is not supported");
  MOE_CHECK(c.boolean_or("scale_attn_weights", true), c.what(),
            ": scale_attn_weights=false is not supported");
  return m;
}

Family::Written write(const ModelConfig& m) {
  auto no = [](const std::string& reason) { return Family::Written{{}, reason}; };
  if (m.has_moe) return no("has no experts");
  if (m.norm != "layer_norm" || !m.bias) return no("has LayerNorm and biases everywhere");
  if (m.position != "learned") return no("has learned positions");
  if (m.is_gated()) return no("has a plain feed-forward network");
  if (m.qk_norm != "false" || m.layer_scale > 0 || m.ngram_order > 0 || m.sliding_window > 0 ||
      m.attention_sink || m.attention_softcap > 0)
    return no("has no QK norm, LayerScale, window, sink or soft-cap");
  if (m.n_kv_heads != m.n_heads || m.head_dim * m.n_heads != m.d_model)
    return no("has head_dim = n_embd / n_head and no grouped heads");
  JsonObject c;
  c["architectures"] = JsonArray{"GPT2LMHeadModel"};
  c["n_embd"] = m.d_model;
  c["n_layer"] = m.n_layers;
  c["n_head"] = m.n_heads;
  c["n_inner"] = m.d_ff;
  c["n_positions"] = m.max_seq_len;
  c["layer_norm_epsilon"] = m.norm_eps;
  c["activation_function"] = m.activation == "gelu_tanh" ? "gelu_new" : m.activation;
  c["tie_word_embeddings"] = m.tie_embeddings;
  for (const char* key : {"attn_pdrop", "embd_pdrop", "resid_pdrop"})
    c[key] = std::string_view(key) == "attn_pdrop" ? 0.0 : m.dropout;
  c["initializer_range"] = 0.02;
  c["scale_attn_weights"] = true;
  c["use_cache"] = true;
  return {c, ""};
}

// "q_proj.weight" of layer 3 -> rows 0..D of "transformer.h.3.attn.c_attn.weight", transposed.
TensorPlace place(const ModelConfig& m, const std::string& name) {
  if (name == "model.embed_tokens.weight") return {.name = "transformer.wte.weight"};
  if (name == "model.embed_positions.weight") return {.name = "transformer.wpe.weight"};
  if (starts_with(name, "model.norm.")) return {.name = "transformer.ln_f." + name.substr(11)};
  if (!starts_with(name, "model.layers.")) return {.name = name};
  const std::vector<std::string> parts =
      split(name, '.');  // model layers 3 self_attn q_proj weight
  const std::string layer = "transformer.h." + parts[2] + ".", &last = parts.back();
  const bool transposed = last == "weight";
  if (parts[3] == "input_layernorm") return {.name = layer + "ln_1." + last};
  if (parts[3] == "post_attention_layernorm") return {.name = layer + "ln_2." + last};
  if (parts[3] == "mlp")
    return {.name = layer + (parts[4] == "up_proj" ? "mlp.c_fc." : "mlp.c_proj.") + last,
            .transposed = transposed};
  if (parts[4] == "o_proj")
    return {.name = layer + "attn.c_proj." + last, .transposed = transposed};
  const int64_t index = parts[4] == "q_proj" ? 0 : parts[4] == "k_proj" ? 1 : 2;
  return {.name = layer + "attn.c_attn." + last,
          .transposed = transposed,
          .begin = index * m.d_model,
          .total_rows = 3 * m.d_model};
}

// The first public file carries no "transformer." in front.
std::vector<TensorPlace> places(const ModelConfig& m, const std::string& name) {
  const TensorPlace first = place(m, name);
  std::vector<TensorPlace> out = {first};
  if (starts_with(first.name, "transformer.")) {
    out.push_back(first);
    out.back().name = first.name.substr(12);
  }
  return out;
}

}  // namespace

const Family kGpt2 = {"gpt2", read, write, places};

}  // namespace moe
