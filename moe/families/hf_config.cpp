// SPDX-License-Identifier: MIT
#include "moe/families/hf_config.h"

#include <algorithm>

#include "moe/base/log.h"
#include "moe/nn/moe/aux_loss.h"

namespace moe {
namespace {

const JsonObject& object_at(const JsonReader& config, std::string_view key) {
  const Json& value = config.at(key);
  MOE_CHECK(value.is_object(), config.what(), ": '", key, "' must be an object");
  return value.get_object();
}

// The default rotation and Llama 3's; a key that neither knows (a table per layer type, YaRN's
// attention_factor ...) would change the function.
RopeScaling read_rope_scaling(const JsonObject& object, const std::string& what) {
  const JsonReader r(object, what);
  const std::string type = r.string_or("rope_type", r.string_or("type", "default"));
  MOE_CHECK(type == "default" || type == "llama3", what, ": rope_type '", printable(type, 40),
            "' is not supported; default and llama3 are");
  for (const auto& entry : object) {
    static const std::vector<std::string_view> known = {
        "rope_type",        "type",
        "rope_theta",       "factor",
        "low_freq_factor",  "partial_rotary_factor",
        "high_freq_factor", "original_max_position_embeddings"};
    MOE_CHECK(std::find(known.begin(), known.end(), std::string_view(entry.key())) != known.end(),
              what, ": '", printable(std::string(entry.key()), 40), "' is not supported");
  }
  MOE_CHECK(r.number_or("partial_rotary_factor", 1) == 1, what,
            ": partial_rotary_factor is not supported");
  if (type == "default") return {};
  return {.type = "llama3",
          .factor = r.number("factor"),
          .low_freq_factor = r.number("low_freq_factor"),
          .high_freq_factor = r.number("high_freq_factor"),
          .original_max_seq_len = r.integer("original_max_position_embeddings")};
}

// rope_theta and rope_scaling (transformers 4), rope_parameters (5), or both if they agree.
void read_rope(const JsonReader& c, const HfDefaults& defaults, ModelConfig& m) {
  MOE_CHECK(c.number_or("partial_rotary_factor", 1) == 1, c.what(),
            ": partial_rotary_factor is not supported");
  m.rope_theta = c.number_or("rope_theta", defaults.rope_theta);
  const bool scaling = c.has("rope_scaling"), parameters = c.has("rope_parameters");
  if (scaling)
    m.rope_scaling = read_rope_scaling(object_at(c, "rope_scaling"), c.what() + ": rope_scaling");
  if (parameters) {
    const JsonObject& object = object_at(c, "rope_parameters");
    const std::string what = c.what() + ": rope_parameters";
    const double theta = JsonReader(object, what).number_or("rope_theta", m.rope_theta);
    const RopeScaling both = read_rope_scaling(object, what);
    MOE_CHECK(
        (!scaling || both == m.rope_scaling) && (!c.has("rope_theta") || theta == m.rope_theta),
        what, " and the older rope_theta and rope_scaling contradict each other; keep one");
    m.rope_theta = theta;
    m.rope_scaling = both;
  } else if (!c.has("rope_theta")) {
    log_info(str(c.what(), ": no rope_theta; ", m.rope_theta, " is used"));
  }
}

}  // namespace

int64_t read_size(const JsonReader& c, const char* key, int64_t max) {
  const int64_t n = c.integer(key);
  MOE_CHECK(n >= 1 && n <= max, c.what(), ": '", key, "' is ", n, ", it must be 1 to ", max);
  return n;
}

int64_t read_layer_count(const JsonReader& c, const char* key) { return read_size(c, key, 4096); }

std::string layer_list(int64_t n_layers, const std::function<bool(int64_t)>& f) {
  std::vector<std::string> on;
  for (int64_t i = 0; i < n_layers; ++i)
    if (f(i)) on.push_back(std::to_string(i));
  return int64_t(on.size()) == n_layers ? "all" : "[" + join(on, ",") + "]";
}

ModelConfig read_llama_like(const JsonReader& c, const HfDefaults& defaults) {
  ModelConfig m;
  m.d_model = read_size(c, "hidden_size");
  m.n_layers = read_layer_count(c, "num_hidden_layers");
  m.n_heads = read_size(c, "num_attention_heads");
  m.n_kv_heads = c.has("num_key_value_heads") ? read_size(c, "num_key_value_heads") : m.n_heads;
  if (c.has("head_dim")) {
    m.head_dim = read_size(c, "head_dim");
  } else if (defaults.head_dim > 0) {
    m.head_dim = defaults.head_dim;
  } else {
    MOE_CHECK(m.d_model % m.n_heads == 0, c.what(), ": hidden_size ", m.d_model,
              " is no multiple of num_attention_heads ", m.n_heads, " and there is no head_dim");
    m.head_dim = m.d_model / m.n_heads;
  }
  m.d_ff = read_size(c, "intermediate_size");
  m.max_seq_len = read_size(c, "max_position_embeddings");
  m.vocab_size = read_size(c, "vocab_size");
  m.norm_eps = c.number_or("rms_norm_eps", defaults.norm_eps);
  m.tie_embeddings = c.boolean_or("tie_word_embeddings", false);
  const std::string act = c.string_or("hidden_act", "silu");
  if (act == "silu")
    m.activation = "swiglu";
  else if (act == "gelu_pytorch_tanh" || act == "gelu_new")
    m.activation = "geglu";
  else if (act == "relu")
    m.activation = "reglu";
  else
    throw Error(str(c.what(), ": hidden_act '", printable(act, 40),
                    "' is not supported; silu, gelu_pytorch_tanh and relu are"));
  MOE_CHECK(!c.has("quantization_config"), c.what(),
            ": quantised checkpoints are not supported; use the full-precision weights");
  m.qk_norm = "false";
  read_rope(c, defaults, m);
  return m;
}

Family::Written write_llama_like(const ModelConfig& m) {
  auto no = [](const std::string& reason) { return Family::Written{{}, reason}; };
  if (m.norm != "rms_norm") return no("needs norm: rms_norm");
  if (m.position != "rope") return no("needs position: rope");
  if (!m.is_gated()) return no("needs a gated activation");
  if (m.bias) return no("has no biases everywhere");
  if (m.layer_scale > 0) return no("has no LayerScale");
  if (m.ngram_order > 0) return no("has no n-gram embeddings");
  if (m.has_moe && m.moe.capacity_factor > 0) return no("has no expert capacity");
  if (m.has_moe && (expert_shape(m).activation != m.activation || m.moe.expert_bias))
    return no("has experts of the kind of its dense network, without biases of their own");
  if (m.has_moe && m.moe.normalize_expert_outputs) return no("has no norm on experts' outputs");
  if (m.attention_sink || m.attention_softcap > 0) return no("has no attention sink or soft-cap");
  JsonObject c;
  c["hidden_size"] = m.d_model;
  c["num_hidden_layers"] = m.n_layers;
  c["num_attention_heads"] = m.n_heads;
  c["num_key_value_heads"] = m.n_kv_heads;
  c["head_dim"] = m.head_dim;
  c["intermediate_size"] = m.d_ff;
  c["max_position_embeddings"] = m.max_seq_len;
  c["hidden_act"] = m.activation == "swiglu"  ? "silu"
                    : m.activation == "geglu" ? "gelu_pytorch_tanh"
                                              : "relu";
  c["rms_norm_eps"] = m.norm_eps;
  c["tie_word_embeddings"] = m.tie_embeddings;
  c["attention_dropout"] = 0.0;
  c["initializer_range"] = 0.02;
  c["use_cache"] = true;
  JsonObject rope = {
      {"rope_theta", m.rope_theta},
      {"rope_type", m.rope_scaling.type == "none" ? "default" : m.rope_scaling.type}};
  if (m.rope_scaling.type == "llama3") {
    rope["factor"] = m.rope_scaling.factor;
    rope["low_freq_factor"] = m.rope_scaling.low_freq_factor;
    rope["high_freq_factor"] = m.rope_scaling.high_freq_factor;
    rope["original_max_position_embeddings"] = m.rope_scaling.original_max_seq_len;
    JsonObject scaling = rope;
    scaling.erase("rope_theta");
    c["rope_scaling"] = scaling;
  } else {
    c["rope_scaling"] = nullptr;
  }
  c["rope_theta"] = m.rope_theta;
  c["rope_parameters"] = rope;
  return {c, ""};
}

namespace {

// Numbers of a MoE layer's training that no other system's config.json has a key for.
struct TrainingNumber {
  const char* key;
  double MoeConfig::*number;
};
struct TrainingInteger {
  const char* key;
  int64_t MoeConfig::*integer;
};
constexpr TrainingNumber kNumbers[] = {
    {"aux_loss_weight", &MoeConfig::aux_loss_weight},
    {"z_loss_weight", &MoeConfig::z_loss_weight},
    {"router_l2_weight", &MoeConfig::router_l2_weight},
    {"device_loss_weight", &MoeConfig::device_loss_weight},
    {"communication_loss_weight", &MoeConfig::communication_loss_weight},
    {"expert_dropout", &MoeConfig::expert_dropout},
    {"router_noise", &MoeConfig::router_noise}};
constexpr TrainingInteger kIntegers[] = {{"n_devices", &MoeConfig::n_devices},
                                         {"uniform_start_steps", &MoeConfig::uniform_start_steps},
                                         {"router_warmup_steps", &MoeConfig::router_warmup_steps}};

}  // namespace

double hf_aux_coefficient(const MoeConfig& m) {
  return m.balance_loss == "hf" ? m.aux_loss_weight : m.aux_loss_weight / double(m.top_k);
}

JsonObject training_keys(const ModelConfig& m) {
  JsonObject own = {{"dropout", m.dropout}};
  if (m.neftune_alpha > 0) own["neftune_alpha"] = m.neftune_alpha;
  if (!m.has_moe) return own;
  own["balance_loss"] = m.moe.balance_loss;
  for (const TrainingNumber& n : kNumbers) own[n.key] = m.moe.*n.number;
  for (const TrainingInteger& n : kIntegers) own[n.key] = m.moe.*n.integer;
  return own;
}

void read_training_keys(const JsonReader& c, ModelConfig& m) {
  if (!c.has("moe_cpp")) return;
  const JsonReader own(object_at(c, "moe_cpp"), c.what() + ": moe_cpp");
  m.dropout = own.number_or("dropout", m.dropout);
  m.moe.balance_loss = own.string_or("balance_loss", m.moe.balance_loss);
  for (const TrainingNumber& n : kNumbers) m.moe.*n.number = own.number_or(n.key, m.moe.*n.number);
  for (const TrainingInteger& n : kIntegers)
    m.moe.*n.integer = own.integer_or(n.key, m.moe.*n.integer);
  const std::vector<std::string>& names = balance_loss_names();
  MOE_CHECK(std::find(names.begin(), names.end(), m.moe.balance_loss) != names.end(), own.what(),
            ": balance_loss '", printable(m.moe.balance_loss, 40), "' is none of ",
            join(names, ", "));
  for (const TrainingNumber& n : kNumbers)
    MOE_CHECK(m.moe.*n.number >= 0 && m.moe.*n.number <= 1e6, own.what(), ": ", n.key, " is ",
              m.moe.*n.number, "; it must lie between 0 and 1e6");
  for (const TrainingInteger& n : kIntegers)
    MOE_CHECK(m.moe.*n.integer >= 0, own.what(), ": ", n.key, " is ", m.moe.*n.integer,
              "; it must not be negative");
}

std::vector<TensorPlace> hf_places(const ModelConfig& m, const std::string& name) {
  std::vector<TensorPlace> places = {{.name = name}};
  const size_t at = name.find(".experts.");
  if (at != std::string::npos && ends_with(name, ".weight")) {
    const std::vector<std::string> parts =
        split(name.substr(at + 9), '.');  // "3", "gate_proj", "weight"
    const int64_t expert = std::stoll(parts[0]);
    const std::string stem = name.substr(0, at) + ".experts.";
    if (parts[1] == "down_proj")
      places.push_back(
          {.name = stem + "down_proj", .matrix = expert, .n_matrices = m.moe.n_experts});
    else if (parts[1] == "gate_proj" || parts[1] == "up_proj")
      places.push_back({.name = stem + "gate_up_proj",
                        .begin = parts[1] == "gate_proj" ? 0 : m.moe.d_ff,
                        .total_rows = 2 * m.moe.d_ff,
                        .matrix = expert,
                        .n_matrices = m.moe.n_experts});
  }
  return places;
}

}  // namespace moe
