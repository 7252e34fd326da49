// SPDX-License-Identifier: MIT
#include "moe/nn/transformer_block.h"

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

MoeOutput TransformerBlock::operator()(const Var& x_TD, const ForwardContext& ctx) const {
  // LayerScale, then dropout, act on a branch before its residual addition.
  auto finish = [&](Var branch_TD, const Var& scale_D, const char* purpose) {
    if (scale_D) branch_TD = ops::scale_columns(branch_TD, scale_D);
    if (ctx.training && dropout > 0)
      branch_TD = ops::dropout(branch_TD, dropout, ctx.rng.stream(purpose, config.index),
                               ctx.token_index_T);
    return branch_TD;
  };
  Var h_TD = ops::add(
      x_TD, finish(attention(input_norm(x_TD), ctx), attention_scale_D, "dropout.attention"));
  MoeOutput out;
  if (moe_layer) {
    out = (*moe_layer)(ffn_norm(h_TD), ctx);
  } else if (const Router* router = active_router(mixtures, ctx)) {
    out = moe_lora(dense, *router, ffn_norm(h_TD), ctx);
  } else {
    out.y_TD = dense(ffn_norm(h_TD), ctx);
    out.aux_loss = zero_loss();
  }
  out.y_TD = ops::add(h_TD, finish(out.y_TD, ffn_scale_D, "dropout.ffn"));
  return out;
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
