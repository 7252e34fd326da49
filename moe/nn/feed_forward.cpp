// SPDX-License-Identifier: MIT
#include "moe/nn/feed_forward.h"

#include "moe/ops/activation.h"
#include "moe/ops/rows.h"

namespace moe {

Activation activation_kind(const std::string& name) {
  if (name == "swiglu" || name == "silu") return Activation::silu;
  if (name == "geglu" || name == "gelu_tanh") return Activation::gelu_tanh;
  if (name == "gelu") return Activation::gelu_erf;
  if (name == "reglu" || name == "relu") return Activation::relu;
  throw Error(str("[feed_forward] unknown activation '", printable(name, 40), "'"));
}

FeedForward::FeedForward(const FeedForwardShape& shape, int64_t D, DType dtype, int64_t experts)
    : d_ff(shape.d_ff), gated(shape.is_gated()), linear(shape.is_linear()) {
  if (linear) {
    down = Linear({"down_proj"}, {D}, D, shape.bias, dtype, experts);
  } else {
    kind = activation_kind(shape.activation);
    up = gated ? Linear({"gate_proj", "up_proj"}, {d_ff, d_ff}, D, shape.bias, dtype, experts,
                        Layout::panel16_gate_up)
               : Linear({"up_proj"}, {d_ff}, D, shape.bias, dtype, experts);
    down = Linear({"down_proj"}, {D}, d_ff, shape.bias, dtype, experts);
  }
  down.residual_output = true;
}

Var FeedForward::operator()(const Var& x_TD, const ForwardContext& ctx) const {
  if (linear) return down(x_TD, ctx);
  if (is_adapted(ctx)) return down(activated(up(x_TD, ctx)), ctx);
  return ops::feed_forward(x_TD, ops::one_group(x_TD.size(0)), {}, weights(ctx));
}
Var FeedForward::operator()(const Var& x_TD, const Tensor& offsets_E1, const Tensor& token_R,
                            const ForwardContext& ctx) const {
  if (linear || is_adapted(ctx)) {
    const Var x_RD = token_R ? ops::gather_rows(x_TD, token_R) : x_TD;
    if (linear) return down(x_RD, offsets_E1, token_R, ctx);
    return down(activated(up(x_RD, offsets_E1, token_R, ctx)), offsets_E1, token_R, ctx);
  }
  return ops::feed_forward(x_TD, offsets_E1, token_R, weights(ctx));
}
Var FeedForward::weighted_sum(const Var& x_TD, const Tensor& offsets_E1, const Tensor& token_R,
                              const Var& weight_R1, const ForwardContext& ctx) const {
  return ops::weighted_feed_forward(x_TD, offsets_E1, token_R, weight_R1, weights(ctx));
}

Var FeedForward::activated(const Var& up_RF) const {
  return gated ? ops::gated_activation(up_RF, d_ff, kind) : ops::activation(up_RF, kind);
}

ops::FeedForwardWeights FeedForward::weights(const ForwardContext& ctx) const {
  return {.up = up.weight,
          .up_bias = up.bias,
          .down = down.weight,
          .down_bias = down.bias,
          .d_ff = d_ff,
          .gated = gated,
          .kind = kind,
          .precision = {.type = ctx.compute_dtype}};
}

void FeedForward::visit(const Visitor& v) const {
  if (!linear) up.visit(v);
  down.visit(v);
}

}  // namespace moe
