// SPDX-License-Identifier: MIT
#include "moe/nn/transformer_lm.h"

#include "moe/nn/moe/aux_loss.h"
#include "moe/ops/dropout.h"
#include "moe/ops/elementwise.h"
#include "moe/ops/embedding.h"

namespace moe {

TransformerLM::TransformerLM(const ModelConfig& config, DType dtype)
    : config_(config),
      dtype_(dtype),
      layers_(resolve_layers(config)),
      ngrams_(config, dtype),
      final_norm_(config, config.d_model, dtype) {
  MOE_CHECK(config.vocab_size > 0, "[model] vocab_size is not set");
  const ModelConfig& c = config_;
  embedding_VD_ = Var(Tensor::zeros({c.vocab_size, c.d_model}, dtype, Layout::panel16), true);
  head_VD_ = c.tie_embeddings
                 ? embedding_VD_.alias()
                 : Var(Tensor::zeros({c.vocab_size, c.d_model}, dtype, Layout::panel16), true);
  if (c.position == "learned")
    position_PD_ = Var(Tensor::zeros({c.max_seq_len, c.d_model}, dtype, Layout::panel16), true);
  if (c.position == "sinusoidal") sinusoids_PD_ = sinusoidal_table(c.max_seq_len, c.d_model, dtype);
  if (c.position == "rope") shared_.rope = rope_table(c, dtype);
  if (c.position == "alibi") shared_.alibi_slopes_H = alibi_slopes(c.n_heads, dtype);
  if (c.position == "t5") {
    shared_.t5_table_UH = Var(Tensor::zeros({c.relative_buckets, c.n_heads}, dtype), true);
    shared_.t5_bucket_of_distance = t5_buckets(c.relative_buckets, c.relative_max_distance);
  }
  for (const LayerConfig& layer : layers_) blocks_.emplace_back(c, layer, shared_, dtype);
}

RouterReplay recorded_routes(const LmOutput& output) {
  RouterReplay out;
  for (const LayerReport& layer : output.moe_layers) out.picks_of_layer[layer.layer] = layer.picks;
  return out;
}

namespace {

// transformers' balance loss: rows of all layers in one pool. Reported by the last of them.
void add_pooled_loss(LmOutput& out, const ForwardContext& ctx, double weight) {
  std::vector<Var> logits;
  std::vector<int64_t> counts_E(out.moe_layers[0].stats.counts_E.size(), 0);
  for (const LayerReport& layer : out.moe_layers) {
    logits.push_back(layer.router_logits_TE);
    for (size_t e = 0; e < counts_E.size(); ++e) counts_E[e] += layer.stats.counts_E[e];
  }
  const Var loss = ops::scale(pooled_balance_loss(logits, counts_E, ctx), weight);
  out.moe_layers.back().stats.balance_loss += loss.value().data<double>()[0];
  out.aux_loss = ops::add(out.aux_loss, loss);
}

}  // namespace

ForwardContext TransformerLM::with_adapter(ForwardContext ctx) const {
  ctx.adapter = adapter_;
  return ctx;
}

void TransformerLM::set_adapters(int n) {
  n_adapters_ = n;
  adapter_ = std::min(adapter_, n - 1);
}

void TransformerLM::use_adapter(int adapter) {
  MOE_CHECK(adapter >= -1 && adapter < n_adapters_, "[lora] the model has no adapter ", adapter);
  adapter_ = adapter;
}

std::vector<LoraSite> TransformerLM::lora_sites() const {
  std::vector<LoraSite> out;
  Visitor v;
  v.site = [&](const LoraSite& site) { out.push_back(site); };
  visit(v);
  return out;
}

std::vector<MixtureSite> TransformerLM::mixture_sites() const {
  std::vector<MixtureSite> out;
  Visitor v;
  v.mixture = [&](const MixtureSite& site) { out.push_back(site); };
  visit(v);
  return out;
}

LmOutput TransformerLM::operator()(const ForwardContext& given, bool keep_residuals) const {
  const ForwardContext ctx = with_adapter(given);
  for (const int32_t p : ctx.positions_T.data<int32_t>())
    MOE_CHECK(p >= 0 && p < config_.max_seq_len, "[model] position ", p, " is beyond max_seq_len ",
              config_.max_seq_len, "; shorten the input");
  const LoraPart* part = active_part(embedding_lora_, ctx);
  Var x_TD = part ? adapted_embedding(*part, embedding_VD_, ctx.token_ids_T)
                  : ops::embedding(ctx.token_ids_T, embedding_VD_);
  if (ctx.training && config_.neftune_alpha > 0)
    x_TD = ops::embedding_noise(x_TD, config_.neftune_alpha, ctx.rng.stream("neftune"),
                                ctx.token_index_T, ctx.sequence_starts_B1);
  if (ngrams_) x_TD = ngrams_.add_to(x_TD, ctx);
  if (position_PD_) x_TD = ops::add(x_TD, ops::embedding(ctx.positions_T, position_PD_));
  if (sinusoids_PD_) {
    Tensor rows_TD = Tensor::empty(x_TD.shape(), dtype_);
    const std::span<const int32_t> positions = ctx.positions_T.data<int32_t>();
    int64_t n = 0;
    for (const int32_t p : positions) n = std::max(n, int64_t{p} + 1);
    kernels(dtype_).gather_rows(rows_TD.view(), sinusoids_PD_.rows(n).view(), positions);
    x_TD = ops::add(x_TD, Var(rows_TD));
  }
  if (ctx.training && config_.dropout > 0)
    x_TD =
        ops::dropout(x_TD, config_.dropout, ctx.rng.stream("dropout.embedding"), ctx.token_index_T);

  LmOutput out;
  out.aux_loss = zero_loss();
  ForwardContext layer_ctx = ctx;
  for (const TransformerBlock& block : blocks_) {
    if (keep_residuals) out.residual_TD.push_back(x_TD.value());
    layer_ctx.layer = block.config.index;
    MoeOutput y = block(x_TD, layer_ctx);
    x_TD = y.y_TD;
    if (!y.router_logits_TE) continue;  // a dense block without LoRA experts
    out.aux_loss = ops::add(out.aux_loss, y.aux_loss);
    layer_ctx.previous_router_logits_TE = y.router_logits_TE;
    out.moe_layers.push_back({.layer = block.config.index,
                              .stats = std::move(y.stats),
                              .picks = std::move(y.picks),
                              .router_logits_TE = y.router_logits_TE});
  }
  if (config_.has_moe && config_.moe.balance_loss == "hf" && !out.moe_layers.empty())
    add_pooled_loss(out, ctx, config_.moe.aux_loss_weight);
  out.hidden_TD = final_norm_(x_TD);
  return out;
}

Var TransformerLM::logits(const Var& hidden_TD, DType compute_dtype) const {
  const LoraPart* part = active_part(head_lora_, with_adapter({}));
  if (!part)
    return ops::linear(hidden_TD, head_VD_, {}, {.type = compute_dtype, .round_result = false});
  // Without dropout: the rows of the loss need not be the batch's.
  return adapted_linear(*part, head_VD_, {}, {config_.vocab_size}, hidden_TD, {}, {}, "lm_head",
                        {});
}

void TransformerLM::visit(const Visitor& v) const {
  auto table = [&](const std::string& name, const Var& var, Role role) {
    return Parameter{.name = v.prefix + name,
                     .var = var,
                     .role = role,
                     .pieces = {{.name = v.prefix + name, .rows = var.size(0)}},
                     .other_uses = {}};
  };
  Parameter embedding = table("model.embed_tokens.weight", embedding_VD_, Role::embedding);
  if (config_.tie_embeddings) embedding.other_uses.push_back(head_VD_);
  const auto site = [&](const std::string& prefix, const std::string& name, const Var& weight,
                        Role role, const std::shared_ptr<LoraParts>& parts) {
    v.site({.prefix = v.prefix + prefix,
            .names = {name},
            .sizes = {config_.vocab_size},
            .weight = weight,
            .role = role,
            .embedding = role == Role::embedding,
            .parts = parts});
  };
  site("model.", "embed_tokens", embedding_VD_, Role::embedding, embedding_lora_);
  v.parameter(embedding);
  if (ngrams_) ngrams_.visit(v.at("model"));
  if (position_PD_)
    v.parameter(table("model.embed_positions.weight", position_PD_, Role::embedding));
  if (shared_.t5_table_UH) {
    const std::string name = v.prefix + "model.relative_attention_bias.weight";
    Parameter t5{
        .name = name,
        .var = shared_.t5_table_UH,
        .role = Role::scale,
        .pieces = {{.name = name, .rows = shared_.t5_table_UH.value().numel(), .is_vector = true}},
        .other_uses = {}};
    for (const TransformerBlock& block : blocks_)
      t5.other_uses.push_back(block.attention.t5_table_UH);
    v.parameter(t5);
  }
  for (size_t i = 0; i < blocks_.size(); ++i) blocks_[i].visit(v.at(str("model.layers.", i)));
  final_norm_.visit(v.at("model.norm"));
  site("", "lm_head", head_VD_, Role::head, head_lora_);
  if (!config_.tie_embeddings) v.parameter(table("lm_head.weight", head_VD_, Role::head));
}

std::vector<Parameter> TransformerLM::parameters() const {
  std::vector<Parameter> out;
  Visitor v;
  v.parameter = [&](const Parameter& p) { out.push_back(p); };
  visit(v);
  return out;
}

std::vector<Buffer> TransformerLM::buffers() const {
  std::vector<Buffer> out;
  Visitor v;
  v.buffer = [&](const Buffer& b) { out.push_back(b); };
  visit(v);
  return out;
}

void TransformerLM::after_step(const std::vector<RouterTotals>& totals) {
  size_t i = 0;
  for (const TransformerBlock& block : blocks_) {
    if (!block.moe_layer) continue;
    MOE_CHECK(i < totals.size(), "[model] ", totals.size(), " router totals for more MoE layers");
    block.moe_layer->router->after_step(totals[i++]);
  }
}

bool TransformerLM::causal(bool training) const {
  for (const TransformerBlock& block : blocks_)
    if (block.moe_layer && !block.moe_layer->router->causal(training)) return false;
  return true;
}

}  // namespace moe
