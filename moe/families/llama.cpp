// SPDX-License-Identifier: MIT
// Llama 2, 3, 3.1, 3.2 (arXiv:2302.13971, arXiv:2407.21783): RMSNorm, RoPE, SwiGLU, GQA;
// Llama 3.1's rope scaling.
#include "moe/families/families.h"
#include "moe/families/hf_config.h"

namespace moe {
namespace {

ModelConfig read(const JsonReader& c) {
  ModelConfig m = read_llama_like(c);
  m.qkv_bias = m.o_bias = c.boolean_or("attention_bias", false);
  m.mlp_bias = c.boolean_or("mlp_bias", false);
  read_training_keys(c, m);
  return m;
}

Family::Written write(const ModelConfig& m) {
  Family::Written w = write_llama_like(m);
  if (!w.reason.empty()) return w;
  if (m.has_moe) return {{}, "has no experts"};
  if (m.qk_norm != "false") return {{}, "has no QK norm"};
  if (m.sliding_window > 0) return {{}, "has no sliding window"};
  if (m.d_model % m.n_heads != 0) return {{}, "has hidden_size a multiple of the heads"};
  if (m.qkv_bias != m.o_bias) return {{}, "has attention biases on q, k, v and o together"};
  w.config["architectures"] = JsonArray{"LlamaForCausalLM"};
  w.config["attention_bias"] = m.qkv_bias;
  w.config["mlp_bias"] = m.mlp_bias;
  return w;
}

}  // namespace

const Family kLlama = {"llama", read, write, hf_places};

}  // namespace moe
