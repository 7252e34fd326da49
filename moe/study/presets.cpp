// SPDX-License-Identifier: MIT
#include "moe/study/presets.h"

#include "moe/base/error.h"
#include "moe/base/str.h"
#include "moe/train/run_config.h"

namespace moe {
namespace {

// layers, width, heads, kv heads, head_dim, vocabulary, context.
std::vector<std::string> shape(int64_t L, int64_t D, int64_t H, int64_t G, int64_t A, int64_t V,
                               int64_t context, std::vector<std::string> more) {
  std::vector<std::string> keys = {str("model.n_layers=", L),
                                   str("model.d_model=", D),
                                   str("model.n_heads=", H),
                                   str("model.n_kv_heads=", G),
                                   str("model.head_dim=", A),
                                   str("model.vocab_size=", V),
                                   str("model.max_seq_len=", context),
                                   str("data.seq_len=", std::min<int64_t>(context, 1 << 20)),
                                   "model.qk_norm=false",
                                   "model.tie_embeddings=false"};
  keys.insert(keys.end(), more.begin(), more.end());
  return keys;
}
std::vector<std::string> experts(int64_t E, int64_t k, int64_t F) {
  return {str("model.moe.n_experts=", E), str("model.moe.top_k=", k), str("model.moe.d_ff=", F)};
}
std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
std::vector<std::string> gpt2(int64_t L, int64_t D, int64_t H) {
  return shape(L, D, H, H, D / H, 50257, 1024,
               {"model.moe=null", "model.norm=layer_norm", "model.position=learned",
                "model.activation=gelu_tanh", "model.bias=true", "model.tie_embeddings=true",
                str("model.d_ff=", 4 * D)});
}
std::vector<std::string> dense(int64_t F) { return {"model.moe=null", str("model.d_ff=", F)}; }

std::vector<Preset> make_presets() {
  const std::string teaching =
      "a size that tutorials use; the experts' number and width are theirs, the rest is ours";
  const auto small = [&](const char* name, int64_t L, int64_t D, int64_t E, int64_t F) {
    return Preset{.name = name,
                  .source = teaching,
                  .keys = shape(L, D, D / 64, D / 64, 64, 32000, 2048, experts(E, 2, F))};
  };
  return {
      {.name = "mixtral-8x7b",
       .source = "Jiang et al. 2024, arXiv:2401.04088; config.json of mistralai/Mixtral-8x7B-v0.1",
       .keys = shape(32, 4096, 32, 8, 128, 32000, 32768, experts(8, 2, 14336)),
       .published_total = 46.7e9,
       .published_active = 12.9e9},
      {.name = "mixtral-8x22b",
       .source = "config.json of mistralai/Mixtral-8x22B-v0.1",
       .keys = shape(56, 6144, 48, 8, 128, 32768, 65536, experts(8, 2, 16384)),
       .published_total = 141e9,
       .published_active = 39e9},
      {.name = "qwen3-30b-a3b",
       .source = "Qwen3 2025, arXiv:2505.09388; config.json of Qwen/Qwen3-30B-A3B",
       .keys = shape(48, 2048, 32, 4, 128, 151936, 40960,
                     experts(128, 8, 768) + std::vector<std::string>{"model.qk_norm=true"}),
       .published_total = 30.5e9,
       .published_active = 3.3e9},
      {.name = "qwen3-235b-a22b",
       .source = "Qwen3 2025, arXiv:2505.09388; config.json of Qwen/Qwen3-235B-A22B",
       .keys = shape(94, 4096, 64, 4, 128, 151936, 40960,
                     experts(128, 8, 1536) + std::vector<std::string>{"model.qk_norm=true"}),
       .published_total = 235e9,
       .published_active = 22e9},
      {.name = "olmoe",
       .source =
           "Muennighoff et al. 2024, arXiv:2409.02060; config.json of allenai/OLMoE-1B-7B-0924",
       .keys = shape(16, 2048, 16, 16, 128, 50304, 4096,
                     experts(64, 8, 1024) + std::vector<std::string>{"model.qk_norm=per_row"}),
       .published_total = 6.9e9,
       .published_active = 1.3e9},
      {.name = "deepseek-v2",
       .source = "DeepSeek-V2 2024, arXiv:2405.04434; its config.json",
       .keys =
           shape(60, 5120, 128, 128, 128, 102400, 163840,
                 experts(160, 6, 1536) + std::vector<std::string>{"model.d_ff=12288",
                                                                  "model.moe.layers=first_dense:1",
                                                                  "model.moe.n_shared_experts=2"}),
       .latent = {.q_rank = 1536, .kv_rank = 512, .nope_dim = 128, .rope_dim = 64, .v_dim = 128},
       .published_total = 236e9,
       .published_active = 21e9},
      {.name = "deepseek-v3",
       .source = "DeepSeek-V3 2024, arXiv:2412.19437; its config.json, without the MTP module",
       .keys =
           shape(61, 7168, 128, 128, 128, 129280, 163840,
                 experts(256, 8, 2048) + std::vector<std::string>{"model.d_ff=18432",
                                                                  "model.moe.layers=first_dense:3",
                                                                  "model.moe.n_shared_experts=1"}),
       .latent = {.q_rank = 1536, .kv_rank = 512, .nope_dim = 128, .rope_dim = 64, .v_dim = 128},
       .router_bias = true,
       .published_total = 671e9,
       .published_active = 37e9},
      {.name = "switch-base",
       .source = "Fedus et al. 2021, arXiv:2101.03961, table 9",
       .published_total = 7.41e9,
       .note = "T5 encoder and decoder, 12 layers, d_model 768, d_ff 2048, 128 experts in every "
               "second layer, top 1"},
      {.name = "switch-large",
       .source = "Fedus et al. 2021, arXiv:2101.03961, table 9",
       .published_total = 26.3e9,
       .note = "T5 encoder and decoder, 24 layers, d_model 1024, d_ff 2816, 128 experts in every "
               "second layer, top 1"},
      {.name = "switch-xxl",
       .source = "Fedus et al. 2021, arXiv:2101.03961, table 9",
       .published_total = 395e9,
       .note = "T5 encoder and decoder, 24 layers, d_model 4096, d_ff 10240, 64 experts in every "
               "second layer, top 1"},
      {.name = "glam",
       .source = "Du et al. 2021, arXiv:2112.06905, table 4 (64B/64E)",
       .published_total = 1.2e12,
       .published_active = 96.6e9,
       .note =
           "decoder, 64 layers, d_model 8192, d_ff 32768, 128 heads of 128, 64 experts in every "
           "second layer, top 2"},
      {.name = "gpt2",
       .source = "Radford et al. 2019; config.json of openai-community/gpt2",
       .keys = gpt2(12, 768, 12),
       .published_total = 124.4e6},
      {.name = "gpt2-medium",
       .source = "config.json of openai-community/gpt2-medium",
       .keys = gpt2(24, 1024, 16)},
      {.name = "gpt2-large",
       .source = "config.json of openai-community/gpt2-large",
       .keys = gpt2(36, 1280, 20)},
      {.name = "gpt2-xl",
       .source = "config.json of openai-community/gpt2-xl",
       .keys = gpt2(48, 1600, 25)},
      {.name = "gpt2-no-qkv-bias",
       .source = "GPT-2's sizes without biases on queries, keys and values, head not tied",
       .keys = shape(12, 768, 12, 12, 64, 50257, 1024,
                     {"model.moe=null", "model.norm=layer_norm", "model.position=learned",
                      "model.activation=gelu_tanh", "model.bias=true", "model.d_ff=3072"}),
       .qkv_bias = false,
       .note = "no biases on queries, keys and values"},
      {.name = "llama2-70b",
       .source = "Touvron et al. 2023, arXiv:2307.09288",
       .keys = shape(80, 8192, 64, 8, 128, 32000, 4096, dense(28672)),
       .published_total = 70e9},
      {.name = "llama3-8b",
       .source = "Llama 3 2024, arXiv:2407.21783",
       .keys = shape(32, 4096, 32, 8, 128, 128256, 8192, dense(14336)),
       .published_total = 8.03e9},
      {.name = "nanogpt-char",
       .source = "nanoGPT, config/train_shakespeare_char.py",
       .keys = shape(6, 384, 6, 6, 64, 65, 256,
                     {"model.moe=null", "model.norm=layer_norm", "model.position=learned",
                      "model.activation=gelu", "model.tie_embeddings=true", "model.d_ff=1536"}),
       .published_total = 10.65e6,
       .note = "the published figure leaves out the position table"},
      small("small", 8, 256, 4, 1024),
      small("medium", 12, 512, 8, 2048),
      small("large", 24, 1024, 16, 4096),
      small("xl", 32, 2048, 64, 8192),
  };
}

}  // namespace

const std::vector<Preset>& presets() {
  static const std::vector<Preset> all = make_presets();
  return all;
}

const Preset& find_preset(const std::string& name) {
  std::vector<std::string> names;
  for (const Preset& p : presets()) {
    if (p.name == name) return p;
    names.push_back(p.name);
  }
  const std::string near = nearest_word(name, names);
  throw Error(
      str("[calc] '", printable(name, 60), "' is no preset, .yaml file or model folder; ",
          near.empty() ? "moe calc --list shows the presets" : "did you mean " + near + "?"),
      ExitCode::usage);
}

CountedModel counted_model(const Preset& p, const std::vector<std::string>& overrides) {
  MOE_CHECK(!p.keys.empty(), "[calc] ", p.name, " is known by its publication alone");
  ConfigSource source;
  source.overrides = p.keys + overrides;
  return {read_run_config(source).model, p.latent, p.router_bias, p.qkv_bias};
}

ParameterCount count_parameters(const CountedModel& m) {
  ParameterCount n = count_parameters(m.config);
  const ModelConfig& c = m.config;
  const double D = double(c.d_model), H = double(c.n_heads), L = double(c.n_layers);
  if (const LatentAttention& a = m.latent) {
    const double qk = double(a.nope_dim + a.rope_dim), q = double(a.q_rank),
                 latent = (q > 0 ? D * q + q + q * H * qk : D * H * qk) +
                          D * double(a.kv_rank + a.rope_dim) + double(a.kv_rank) +
                          double(a.kv_rank) * H * double(a.nope_dim + a.v_dim) +
                          H * double(a.v_dim) * D,
                 plain = 4 * D * H * double(c.head_dim) -
                         2 * D * double(c.n_heads - c.n_kv_heads) * double(c.head_dim);
    n.total += L * (latent - plain);
    n.active += L * (latent - plain);
  }
  if (!m.qkv_bias && c.bias) {
    const double biases = L * double((c.n_heads + 2 * c.n_kv_heads) * c.head_dim);
    n.total -= biases;
    n.active -= biases;
  }
  if (m.router_bias) {
    double layers = 0;
    for (const LayerConfig& layer : resolve_layers(c)) layers += layer.moe;
    n.total += layers * double(c.moe.n_experts);
    n.active += layers * double(c.moe.n_experts);
  }
  return n;
}

double kv_numbers_per_token(const CountedModel& m) {
  const ModelConfig& c = m.config;
  if (m.latent) return double(c.n_layers) * double(m.latent.kv_rank + m.latent.rope_dim);
  return 2 * double(c.n_layers) * double(c.n_kv_heads) * double(c.head_dim);
}

}  // namespace moe
