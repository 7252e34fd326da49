// SPDX-License-Identifier: MIT
#include "moe/nn/transformer_block.h"

#include "moe/autograd/recompute.h"
#include "moe/ops/dropout.h"
#include "moe/ops/elementwise.h"

namespace moe {

TransformerBlock::TransformerBlock(const ModelConfig& model, const LayerConfig& layer,
                                   const SharedPositions& shared, DType dtype)
    : config(layer),
      dropout(model.dropout),
      input_norm(model, model.d_model, dtype),
      ffn_norm(model, model.d_model, dtype),
      attention(model, layer, shared, dtype) {
  if (layer.moe)
    moe_layer = std::make_unique<MoeLayer>(model, dtype);
  else
    dense = FeedForward(dense_shape(model), model.d_model, dtype);
  if (model.layer_scale > 0) {
    attention_scale_D = Var(Tensor::zeros({model.d_model}, dtype), true);
    ffn_scale_D = Var(Tensor::zeros({model.d_model}, dtype), true);
  }
}

namespace {

/// Runs now without a tape, and once more in backward.
MoeOutput recomputed(const std::function<MoeOutput()>& run) {
  const auto vars_of = [](const MoeOutput& out) {
    std::vector<Var> vars = {out.y_TD, out.aux_loss};
    if (out.router_logits_TE) vars.push_back(out.router_logits_TE);
    return vars;
  };
  MoeOutput out;
  {
    const NoTape pause;
    out = run();
  }
  std::vector<Tensor> values;
  for (const Var& v : vars_of(out)) values.push_back(v.value());
  const std::vector<Var> vars = record_recomputed(values, [=] { return vars_of(run()); });
  out.y_TD = vars[0];
  out.aux_loss = vars[1];
  if (out.router_logits_TE) out.router_logits_TE = vars[2];
  return out;
}

}  // namespace

// LayerScale, then dropout, act on a branch before its residual addition.
Var TransformerBlock::finish(Var branch_TD, const Var& scale_D, const char* purpose,
                             const ForwardContext& ctx) const {
  if (scale_D) branch_TD = ops::scale_columns(branch_TD, scale_D);
  if (ctx.training && dropout > 0)
    branch_TD =
        ops::dropout(branch_TD, dropout, ctx.rng.stream(purpose, config.index), ctx.token_index_T);
  return branch_TD;
}

MoeOutput TransformerBlock::ffn_branch(const Var& h_TD, const ForwardContext& ctx) const {
  MoeOutput out;
  if (moe_layer) {
    out = (*moe_layer)(ffn_norm(h_TD), ctx);
  } else if (const Router* router = active_router(mixtures, ctx)) {
    out = moe_lora(dense, *router, ffn_norm(h_TD), ctx);
  } else {
    out.y_TD = dense(ffn_norm(h_TD), ctx);
    out.aux_loss = zero_loss();
  }
  out.y_TD = finish(out.y_TD, ffn_scale_D, "dropout.ffn", ctx);
  return out;
}

MoeOutput TransformerBlock::whole(const Var& x_TD, const ForwardContext& ctx) const {
  const Var h_TD = ops::add(
      x_TD, finish(attention(input_norm(x_TD), ctx), attention_scale_D, "dropout.attention", ctx));
  const bool again = ctx.recompute == Recompute::ffn && Tape::current();
  MoeOutput out = again ? recomputed([this, h_TD, ctx] { return ffn_branch(h_TD, ctx); })
                        : ffn_branch(h_TD, ctx);
  out.y_TD = ops::add(h_TD, out.y_TD);
  return out;
}

MoeOutput TransformerBlock::operator()(const Var& x_TD, const ForwardContext& ctx) const {
  if (ctx.recompute == Recompute::block && Tape::current())
    return recomputed([this, x_TD, ctx] { return whole(x_TD, ctx); });
  return whole(x_TD, ctx);
}

void TransformerBlock::visit(const Visitor& v) const {
  input_norm.visit(v.at("input_layernorm"));
  attention.visit(v.at("self_attn"));
  ffn_norm.visit(v.at("post_attention_layernorm"));
  if (moe_layer)
    moe_layer->visit(v.at("mlp"));
  else
    dense.visit(v.at("mlp"));
  if (!moe_layer && !dense.linear)
    v.mixture({.prefix = v.prefix + "mlp.",
               .d_model = dense.up.weight.shape()[-1],
               .dtype = dense.up.weight.dtype(),
               .routers = mixtures});
  if (attention_scale_D) {
    visit_vector(v, "attention_layer_scale", attention_scale_D, Role::scale);
    visit_vector(v, "mlp_layer_scale", ffn_scale_D, Role::scale);
  }
}

}  // namespace moe
