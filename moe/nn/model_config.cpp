// SPDX-License-Identifier: MIT
#include "moe/nn/model_config.h"

#include "moe/base/error.h"
#include "moe/nn/moe/aux_loss.h"
#include "moe/nn/moe/routers.h"

namespace moe {
namespace {

constexpr int64_t kMaxSize =
    int64_t{1}
    << 24;  // keeps every product of three sizes inside 63 bits together with numel()'s check

int64_t parse_index(const std::string& text, const std::string& key, const std::string& spec) {
  const std::string t = trim(text);
  MOE_CHECK(!t.empty() && t.size() < 10 && t.find_first_not_of("0123456789") == std::string::npos,
            "[config] ", key, ": '", printable(spec, 60),
            "' is not all | [2,5] | every:2 | first_dense:1 | 16-31");
  return std::stoll(t);
}

}  // namespace

bool ModelConfig::is_gated() const { return dense_shape(*this).is_gated(); }

std::vector<std::array<int64_t, 2>> FeedForwardShape::matrices(int64_t D) const {
  if (d_ff == 0) return {};
  if (is_linear()) return {{D, D}};
  if (is_gated()) return {{d_ff, D}, {d_ff, D}, {D, d_ff}};
  return {{d_ff, D}, {D, d_ff}};
}

FeedForwardShape dense_shape(const ModelConfig& c) {
  return {c.d_ff, c.activation, c.bias || c.mlp_bias};
}
FeedForwardShape expert_shape(const ModelConfig& c) {
  const std::string& kind = c.moe.expert;
  return {c.moe.d_ff,
          kind == "default"    ? c.activation
          : kind == "mlp_relu" ? "relu"
          : kind == "mlp_gelu" ? "gelu"
                               : kind,
          c.bias || c.mlp_bias || c.moe.expert_bias};
}
FeedForwardShape shared_expert_shape(const ModelConfig& c) {
  FeedForwardShape shape = expert_shape(c);
  if (c.moe.n_shared_experts == 0)
    shape.d_ff = 0;
  else
    shape.d_ff = c.moe.shared_d_ff > 0 ? c.moe.shared_d_ff : c.moe.n_shared_experts * c.moe.d_ff;
  return shape;
}

void bind_model_keys(ConfigTable& t, ModelConfig& c) {
  t.integer("model.n_layers", c.n_layers, 1, 4096, "number of transformer blocks");
  t.integer("model.d_model", c.d_model, 1, kMaxSize, "width of the residual stream");
  t.integer("model.n_heads", c.n_heads, 1, 65536, "query heads");
  t.integer("model.n_kv_heads", c.n_kv_heads, 1, 65536,
            "key/value heads; divides n_heads (1: MQA, n_heads: MHA)");
  t.integer("model.head_dim", c.head_dim, 1, 65536,
            "width of one head; need not be d_model / n_heads");
  t.integer("model.d_ff", c.d_ff, 1, kMaxSize, "width of a dense layer's feed-forward network");
  t.integer("model.max_seq_len", c.max_seq_len, 1, int64_t{1} << 24, "longest sequence in tokens");
  t.integer("model.vocab_size", c.vocab_size, 0, int64_t{1} << 24,
            "size of the vocabulary; 0: the tokenizer's");
  t.choice("model.norm", c.norm, {"rms_norm", "layer_norm"},
           "normalisation before each branch and before the head");
  t.number("model.norm_eps", c.norm_eps, 0, 1, "added to the mean square inside the root");
  t.boolean("model.bias", c.bias, "biases on all linear maps and LayerNorms");
  t.boolean("model.qkv_bias", c.qkv_bias, "biases on the q, k and v projections");
  t.boolean("model.o_bias", c.o_bias, "bias on the attention output projection");
  t.boolean("model.mlp_bias", c.mlp_bias, "biases in the feed-forward networks and experts");
  t.choice("model.position", c.position,
           {"rope", "learned", "sinusoidal", "alibi", "t5", "shaw", "none"}, "how positions enter");
  t.number("model.rope_theta", c.rope_theta, 1e-3, 1e12, "base of the rotary frequencies");
  t.choice("model.rope_scaling.type", c.rope_scaling.type, {"none", "llama3"},
           "rotary frequency scaling");
  t.number("model.rope_scaling.factor", c.rope_scaling.factor, 1e-3, 1e6,
           "llama3: division of the low frequencies");
  t.number("model.rope_scaling.low_freq_factor", c.rope_scaling.low_freq_factor, 1e-3, 1e6,
           "llama3: wavelengths above original / this are scaled");
  t.number("model.rope_scaling.high_freq_factor", c.rope_scaling.high_freq_factor, 1e-3, 1e6,
           "llama3: wavelengths below original / this are kept");
  t.integer("model.rope_scaling.original_max_seq_len", c.rope_scaling.original_max_seq_len, 1,
            int64_t{1} << 24, "llama3: context the model was trained with");
  t.integer("model.relative_buckets", c.relative_buckets, 2, 65536,
            "t5: number of distance buckets");
  t.integer("model.relative_max_distance", c.relative_max_distance, 1, 65536,
            "t5: distance from which all share a bucket; shaw: clipping distance");
  t.integer("model.sliding_window", c.sliding_window, 0, int64_t{1} << 24,
            "keys a query sees, itself included; 0: all");
  t.string_or_list(
      "model.window_layers", c.window_layers,
      "layers that use the sliding window: all | [0,2] | every:2 | first_dense:1 | 16-31");
  t.number("model.attention_softcap", c.attention_softcap, 0, 1e6,
           "scores become tanh(s / cap) * cap; 0: off");
  t.boolean("model.attention_sink", c.attention_sink,
            "one learned logit a head that joins the softmax's denominator");
  t.choice("model.activation", c.activation,
           {"swiglu", "geglu", "reglu", "gelu", "gelu_tanh", "relu", "silu"},
           "feed-forward activation; the first three are gated");
  t.choice("model.qk_norm", c.qk_norm, {"true", "false", "per_row"},
           "RMSNorm on queries and keys: per head, off, or over the whole row");
  t.boolean("model.tie_embeddings", c.tie_embeddings, "the output head is the embedding table");
  t.integer(
      "model.ngram_order", c.ngram_order, 0, 16,
      "n-gram hash embeddings: a learned row for each n-gram of 2 to this many tokens; 0: none");
  t.integer("model.ngram_buckets", c.ngram_buckets, 1, int64_t{1} << 24,
            "rows of the table of one n-gram order");
  t.number("model.ngram_dropout", c.ngram_dropout, 0, 0.999,
           "training: a token loses its n-grams from order n on with 1 - (1 - rate)^(n - 1)");
  t.number("model.layer_scale", c.layer_scale, 0, 1,
           "initial value of a learned scale on each branch's output; 0: none");
  t.number(
      "model.neftune_alpha", c.neftune_alpha, 0, 1e6,
      "fine-tuning: uniform noise on a token's embedding of at most alpha / sqrt(tokens of its "
      "sequence * d_model) (NEFTune); 0: none");
  t.number("model.dropout", c.dropout, 0, 0.999, "dropout rate on the embedding and each branch");
  t.string("model.init_from", c.init_from,
           "checkpoint or Hugging Face folder to start from; its model keys are taken");
  t.optional_group("model.moe", c.has_moe,
                   "Mixture-of-Experts layers; without this group the model is dense");
  MoeConfig& m = c.moe;
  t.string_or_list("model.moe.layers", m.layers,
                   "which layers are MoE: all | [2,5,8,11] | every:2 | first_dense:1 | 16-31");
  t.integer("model.moe.n_experts", m.n_experts, 1, 65536, "routed experts a layer");
  t.integer("model.moe.top_k", m.top_k, 1, 65536,
            "experts a token takes (expert_choice: on average)");
  t.integer("model.moe.d_ff", m.d_ff, 1, kMaxSize, "width of one expert");
  t.choice("model.moe.expert", m.expert, {"default", "linear", "mlp_relu", "mlp_gelu", "swiglu"},
           "what an expert is: like model.activation, one matrix, two with ReLU or GELU, three");
  t.boolean("model.moe.expert_bias", m.expert_bias, "biases in the experts");
  t.integer("model.moe.n_shared_experts", m.n_shared_experts, 0, 1024,
            "experts that every token takes");
  t.integer("model.moe.shared_d_ff", m.shared_d_ff, 0, kMaxSize,
            "width of all shared experts together; 0: n_shared_experts * d_ff");
  t.boolean("model.moe.shared_gate", m.shared_gate, "a sigmoid gate on the shared experts' output");
  t.choice("model.moe.router", m.router, router_names(), "how tokens reach experts");
  t.choice("model.moe.softmax", m.softmax, {"before_topk", "after_topk"},
           "top_k: probabilities over all experts, or over the chosen ones");
  t.boolean("model.moe.norm_topk_prob", m.norm_topk_prob,
            "chosen probabilities are divided by their sum");
  t.choice("model.moe.balance_loss", m.balance_loss, balance_loss_names(),
           "form of the balance loss; when balanced switch is 1, hf top_k, gshard 1 / E^2, "
           "importance_load 1, cv2 0");
  t.number("model.moe.aux_loss_weight", m.aux_loss_weight, 0, 1e6,
           "weight of the balance loss, per layer");
  t.number("model.moe.z_loss_weight", m.z_loss_weight, 0, 1e6,
           "weight of the router z-loss, per layer");
  t.number("model.moe.router_l2_weight", m.router_l2_weight, 0, 1e6,
           "weight of the mean squared logit, per layer");
  t.integer("model.moe.n_devices", m.n_devices, 1, 65536,
            "equal groups of experts that the next two losses balance");
  t.number("model.moe.device_loss_weight", m.device_loss_weight, 0, 1e6,
           "weight of DeepSeek-V2's device-level balance loss");
  t.number("model.moe.communication_loss_weight", m.communication_loss_weight, 0, 1e6,
           "weight of DeepSeek-V2's communication balance loss");
  t.integer("model.moe.n_group", m.n_group, 1, 65536,
            "sigmoid_bias, group_limited, hierarchical: groups of experts");
  t.integer("model.moe.topk_group", m.topk_group, 1, 65536,
            "sigmoid_bias, group_limited, hierarchical: groups a token may use");
  t.integer("model.moe.cosine_dim", m.cosine_dim, 1, 65536,
            "cosine: width in which a token and an expert are compared");
  t.integer("model.moe.slots_per_expert", m.slots_per_expert, 1, 65536,
            "soft_slots: slots of an expert in each sequence");
  t.number("model.moe.routed_scaling_factor", m.routed_scaling_factor, 1e-6, 1e6,
           "sigmoid_bias, group_limited, longcat: factor on the combine weights");
  t.number("model.moe.router_jitter", m.router_jitter, 0, 0.999,
           "switch: in training the router sees its input times U(1 - jitter, 1 + jitter)");
  t.choice("model.moe.second_expert_policy", m.second_expert_policy, {"all", "threshold", "random"},
           "gshard: when the second expert is taken in training");
  t.number("model.moe.second_expert_threshold", m.second_expert_threshold, 1e-6, 1,
           "gshard: weight that the second expert must have, or has a chance in proportion below");
  t.number("model.moe.threshold", m.threshold, 0, 1e6,
           "top_p: probability that a token's experts must exceed together; 1: all experts");
  t.number("model.moe.target_experts", m.target_experts, 0, 65536,
           "top_p: mean number of experts that the threshold is steered to; 0: it is fixed");
  t.number("model.moe.entropy_weight", m.entropy_weight, 0, 1e6,
           "top_p: weight of the mean entropy of the router's probabilities");
  t.number("model.moe.bias_update_rate", m.bias_update_rate, 0, 1,
           "sigmoid_bias, longcat: step of the selection bias");
  t.integer("model.moe.n_identity_experts", m.n_identity_experts, 0, 65536,
            "longcat, moe_pp: experts that return their input");
  t.integer("model.moe.n_constant_experts", m.n_constant_experts, 0, 65536,
            "moe_pp: experts that mix their input with a learned vector");
  t.integer("model.moe.n_zero_experts", m.n_zero_experts, 0, 65536,
            "moe_pp: experts that return nothing");
  t.number(
      "model.moe.zero_computation_weight", m.zero_computation_weight, 0, 1e6,
      "moe_pp: tau, weight in the balance loss of the experts without a network; below 1: more "
      "tokens go to them");
  t.number("model.moe.capacity_factor", m.capacity_factor, 0, 1e6,
           "room of an expert over its even share of a group's picks; 0: dropless");
  t.choice("model.moe.capacity_formula", m.capacity_formula, {"tokens_k", "tokens", "tutel"},
           "C = factor T k / E | factor T / E | k floor(factor ceil(T / E))");
  t.choice("model.moe.capacity_rounding", m.capacity_rounding, {"ceil", "floor", "up_to_4"},
           "of C; up_to_4: to the next multiple of 4");
  t.integer("model.moe.capacity_min", m.capacity_min, 1, int64_t{1} << 30, "smallest C");
  t.integer("model.moe.capacity_tokens", m.capacity_tokens, 0, int64_t{1} << 30,
            "T of C: tokens of a sequence; 0: data.seq_len");
  t.choice("model.moe.capacity_order", m.capacity_order,
           {"slot_major", "bpr", "token_major", "probability"},
           "who claims room first: first choices by position | by their score | tokens by position "
           "| the largest weights; only token_major is causal");
  t.choice("model.moe.capacity_group", m.capacity_group, {"sequence", "batch"},
           "whose tokens share an expert's room in training");
  t.choice("model.moe.capacity_overflow", m.capacity_overflow, {"drop", "reroute"},
           "a pick without room is left out, or goes to the next best expert with room");
  t.choice("model.moe.capacity_eval", m.capacity_eval, {"none", "token_major"},
           "capacity in evaluation and generation: none, or by position");
  t.number("model.moe.capacity_target_drop", m.capacity_target_drop, 0, 0.999,
           "share of picks to drop: after each step the factor moves by 2 % towards it; 0: fixed");
  t.number("model.moe.expert_dropout", m.expert_dropout, 0, 0.999,
           "training: each expert is closed for a whole step with this rate; top_k stay open");
  t.number("model.moe.router_noise", m.router_noise, 0, 1e3,
           "training: standard deviation of a normal draw on each router logit");
  t.integer("model.moe.uniform_start_steps", m.uniform_start_steps, 0, int64_t{1} << 40,
            "so many first steps take top_k experts at random, whatever the router says");
  t.integer("model.moe.router_warmup_steps", m.router_warmup_steps, 0, int64_t{1} << 40,
            "over so many first steps the router's logits grow from nearly 0 to their full size");
  t.boolean("model.moe.normalize_expert_outputs", m.normalize_expert_outputs,
            "each expert's output is divided by its root mean square, so that none grows loud");
  t.boolean(
      "model.moe.allow_noncausal", m.allow_noncausal,
      "let generation run with a router that sees later tokens, whose routes then differ from "
      "those of training");
}

std::vector<bool> parse_layer_spec(const std::string& spec, int64_t n_layers,
                                   const std::string& key) {
  std::vector<bool> on(size_t(n_layers), false);
  const std::string s = trim(spec);
  auto set = [&](int64_t i) {
    MOE_CHECK(i >= 0 && i < n_layers, "[config] ", key, ": layer ", i,
              " does not exist; the model has layers 0 to ", n_layers - 1);
    on[size_t(i)] = true;
  };
  if (s == "all") {
    on.assign(size_t(n_layers), true);
  } else if (starts_with(s, "every:")) {
    const int64_t step = parse_index(s.substr(6), key, spec);
    MOE_CHECK(step >= 1, "[config] ", key, ": every:", step, " must be every:1 or more");
    for (int64_t i = step - 1; i < n_layers; i += step) set(i);
  } else if (starts_with(s, "first_dense:")) {
    for (int64_t i = parse_index(s.substr(12), key, spec); i < n_layers; ++i) set(i);
  } else if (starts_with(s, "[") && ends_with(s, "]")) {
    const std::string inner = s.substr(1, s.size() - 2);
    if (!trim(inner).empty())
      for (const std::string& item : split(inner, ',')) set(parse_index(item, key, spec));
  } else {
    const std::vector<std::string> ends = split(s, '-');
    MOE_CHECK(ends.size() == 1 || ends.size() == 2, "[config] ", key, ": '", printable(spec, 60),
              "' is not all | [2,5] | every:2 | first_dense:1 | 16-31");
    const int64_t first = parse_index(ends.front(), key, spec),
                  last = parse_index(ends.back(), key, spec);
    MOE_CHECK(first <= last, "[config] ", key, ": range ", first, "-", last, " runs backwards");
    for (int64_t i = first; i <= last; ++i) set(i);
  }
  return on;
}

int64_t experts_per_token(const MoeConfig& m) {
  if (m.router == "switch" || m.router == "base") return 1;
  if (m.router == "gshard") return std::min<int64_t>(2, m.n_experts);
  if (m.router == "dense" || m.router == "dense_raw") return m.n_experts;
  return m.top_k;
}

int64_t router_outputs(const MoeConfig& m) {
  if (m.router == "longcat") return m.n_experts + m.n_identity_experts;
  if (m.router != "moe_pp") return m.n_experts;
  return m.n_experts + m.n_constant_experts + m.n_identity_experts + m.n_zero_experts;
}

std::vector<std::array<int64_t, 2>> router_matrices(const MoeConfig& m, int64_t d_model) {
  const std::string& r = m.router;
  if (r == "hash" || r == "hash_balanced" || r == "random") return {};
  if (r == "soft_slots") return {{m.n_experts * m.slots_per_expert, d_model}};
  if (r == "cosine") return {{m.n_experts, m.cosine_dim}, {m.cosine_dim, d_model}, {1, 1}};
  std::vector<std::array<int64_t, 2>> out = {{router_outputs(m), d_model}};
  if (r == "moe_pp") {
    out.push_back({router_outputs(m), router_outputs(m)});
    for (int64_t j = 0; j < m.n_constant_experts; ++j) {
      out.push_back({2, d_model});
      out.push_back({d_model, 1});
    }
  }
  if (r == "noisy_top_k") out.push_back({m.n_experts, d_model});
  if (r == "hierarchical") out.push_back({m.n_group, d_model});
  return out;
}

std::vector<LayerConfig> resolve_layers(const ModelConfig& c) {
  MOE_CHECK(c.n_heads % c.n_kv_heads == 0, "[config] model.n_heads is ", c.n_heads,
            ", which is no multiple of model.n_kv_heads ", c.n_kv_heads);
  MOE_CHECK(c.position != "rope" || c.head_dim % 2 == 0, "[config] model.head_dim is ", c.head_dim,
            "; RoPE rotates pairs, so it must be even (or use model.position=learned)");
  MOE_CHECK(c.position != "sinusoidal" || c.d_model % 2 == 0, "[config] model.d_model is ",
            c.d_model, "; sinusoidal positions need an even width");
  MOE_CHECK(c.position != "t5" || c.relative_max_distance > c.relative_buckets / 2,
            "[config] model.relative_max_distance is ", c.relative_max_distance,
            "; it must exceed model.relative_buckets / 2 = ", c.relative_buckets / 2);
  MOE_CHECK(c.rope_scaling.type == "none" ||
                c.rope_scaling.high_freq_factor > c.rope_scaling.low_freq_factor,
            "[config] model.rope_scaling.high_freq_factor is ", c.rope_scaling.high_freq_factor,
            "; it must exceed low_freq_factor ", c.rope_scaling.low_freq_factor);
  MOE_CHECK(c.ngram_order != 1,
            "[config] model.ngram_order is 1, which is the token table itself; use 0 (none) or 2 "
            "and more");
  MOE_CHECK(c.ngram_order < 2 || (c.ngram_order - 1) * c.ngram_buckets < int64_t{1} << 31,
            "[config] model.ngram_buckets ", c.ngram_buckets, " for ", c.ngram_order - 1,
            " orders is more than 2^31 rows");
  std::vector<bool> is_moe(size_t(c.n_layers), false);
  if (c.has_moe) {
    const MoeConfig& m = c.moe;
    is_moe = parse_layer_spec(m.layers, c.n_layers, "model.moe.layers");
    const int64_t choices = router_outputs(m);
    MOE_CHECK(m.top_k <= choices, "[config] model.moe.top_k is ", m.top_k, ", but there are only ",
              choices, " experts; set it to 1..", choices);
    MOE_CHECK(
        m.n_identity_experts == 0 || m.router == "longcat" || m.router == "moe_pp",
        "[config] model.moe.n_identity_experts needs model.moe.router=longcat or moe_pp, not ",
        m.router);
    MOE_CHECK(m.target_experts == 0 || m.router == "top_p",
              "[config] model.moe.target_experts needs model.moe.router=top_p, not ", m.router);
    MOE_CHECK(
        m.target_experts == 0 || (m.target_experts >= 1 && m.target_experts <= double(m.n_experts)),
        "[config] model.moe.target_experts is ", m.target_experts, "; set it to 1..", m.n_experts);
    const bool free_loss = has_free_balance_loss(m.router);
    MOE_CHECK(m.balance_loss == "switch" || free_loss,
              "[config] model.moe.balance_loss=", m.balance_loss,
              " has no meaning with model.moe.router=", m.router,
              ", whose loss is part of the method; leave it at switch");
    MOE_CHECK((m.router_l2_weight == 0 && m.device_loss_weight == 0 &&
               m.communication_loss_weight == 0) ||
                  free_loss,
              "[config] model.moe.router_l2_weight, device_loss_weight and "
              "communication_loss_weight have no meaning with model.moe.router=",
              m.router);
    MOE_CHECK(m.n_devices >= 1 && choices % m.n_devices == 0, "[config] model.moe.n_devices is ",
              m.n_devices, "; it must divide the ", choices, " experts");
    MOE_CHECK((m.device_loss_weight == 0 && m.communication_loss_weight == 0) || m.n_devices > 1,
              "[config] model.moe.device_loss_weight and communication_loss_weight need "
              "model.moe.n_devices of 2 or more");
    MOE_CHECK(m.balance_loss != "hf" || m.router != "sigmoid_bias",
              "[config] model.moe.balance_loss=hf takes the softmax of the logits, which "
              "model.moe.router=sigmoid_bias does not use; take switch");
    MOE_CHECK(m.softmax == "before_topk" || m.norm_topk_prob,
              "[config] model.moe.norm_topk_prob=false has no meaning with softmax=after_topk; "
              "weights sum to 1 there");
    const bool has_groups =
        m.router == "sigmoid_bias" || m.router == "group_limited" || m.router == "hierarchical";
    if (has_groups) {
      MOE_CHECK(m.n_experts % m.n_group == 0, "[config] model.moe.n_experts ", m.n_experts,
                " is no multiple of n_group ", m.n_group);
      MOE_CHECK(m.topk_group <= m.n_group, "[config] model.moe.topk_group is ", m.topk_group,
                ", there are only ", m.n_group, " groups");
      MOE_CHECK(m.top_k <= m.topk_group * (m.n_experts / m.n_group), "[config] model.moe.top_k ",
                m.top_k, " does not fit ", m.topk_group, " groups of ", m.n_experts / m.n_group);
    } else {
      MOE_CHECK(m.n_group == 1 && m.topk_group == 1,
                "[config] model.moe.n_group needs model.moe.router=sigmoid_bias, group_limited or "
                "hierarchical, not ",
                m.router);
    }
    MOE_CHECK(m.router != "hierarchical" || m.top_k % m.topk_group == 0,
              "[config] model.moe.top_k ", m.top_k, " is no multiple of topk_group ", m.topk_group,
              "; each chosen group gives as many experts");
    MOE_CHECK(m.capacity_factor == 0 || (m.router != "expert_choice" && m.router != "soft_slots"),
              "[config] model.moe.capacity_factor has no meaning with model.moe.router=", m.router,
              ", whose experts are full by construction; leave it at 0");
    MOE_CHECK(m.expert_dropout == 0 ||
                  (m.router != "base" && m.router != "sinkhorn" && m.router != "quantile"),
              "[config] model.moe.expert_dropout closes experts that model.moe.router=", m.router,
              " would fill all the same, to balance them; leave it at 0");
    MOE_CHECK(m.capacity_overflow == "drop" || m.router != "hierarchical",
              "[config] model.moe.capacity_overflow=reroute would leave the groups that "
              "model.moe.router=hierarchical chose; use drop");
    MOE_CHECK(!m.shared_gate || m.n_shared_experts > 0,
              "[config] model.moe.shared_gate=true needs model.moe.n_shared_experts >= 1");
  }
  std::vector<bool> windowed = parse_layer_spec(c.window_layers, c.n_layers, "model.window_layers");
  std::vector<LayerConfig> layers;
  for (int64_t i = 0; i < c.n_layers; ++i)
    layers.push_back({.index = int(i),
                      .moe = is_moe[size_t(i)],
                      .window = windowed[size_t(i)] ? c.sliding_window : 0});
  return layers;
}

}  // namespace moe
