// SPDX-License-Identifier: MIT
#include "moe/ops/feed_forward.h"

#include "moe/ops/linear.h"

namespace moe::ops {
namespace {

void activate(const Kernels& k, const FeedForwardWeights& w, const Tensor& h_RF, const Tensor& up) {
  if (w.gated)
    k.gated_act_fwd(h_RF.view(), up.view(), w.kind);
  else
    k.act_fwd(h_RF.view(), up.view(), w.kind);
}

}  // namespace

Var feed_forward(const Var& x, const Tensor& offsets_E1, const Tensor& token_R,
                 const FeedForwardWeights& w) {
  const PanelMap up_map = w.up.value().panel_map();
  MOE_CHECK(up_map.gate_up == w.gated && up_map.half() == w.d_ff, "[feed_forward] the weight ",
            w.up.shape().text(), " is no ", w.gated ? "gate and up" : "up", " projection to ",
            w.d_ff);
  if (token_R)
    for (const int32_t t : token_R.data<int32_t>())
      MOE_CHECK(t >= 0 && t < x.size(0), "[feed_forward] row ", t, " of ", x.size(0));
  const int64_t R = token_R ? token_R.numel() : x.size(0);
  const DType dtype = x.dtype();
  const Kernels& k = kernels(dtype);
  Tensor up = Tensor::empty({R, up_map.out_cols()}, dtype),
         h_RF = Tensor::empty({R, w.d_ff}, dtype),
         y_RD = Tensor::empty({R, w.down.value().panel_map().out_cols()}, dtype);
  grouped_linear_fwd(k, up, x.value(), w.up, w.up_bias, offsets_E1, token_R);
  activate(k, w, h_RF, up);
  grouped_linear_fwd(k, y_RD, h_RF, w.down, w.down_bias, offsets_E1);
  return record(
      "feed_forward", y_RD, {x, w.up, w.up_bias, w.down, w.down_bias}, [=](const Tensor& dy) {
        const Kernels& kb = kernels(dy.dtype());
        const Tensor dh = Tensor::empty({R, w.d_ff}, dy.dtype());
        grouped_linear_bwd_input(kb, dh, false, dy, w.down, offsets_E1);
        (w.gated ? kb.gated_act_bwd_and_fwd : kb.act_bwd_and_fwd)(up.view(), dh.view(), w.kind);
        const Tensor &dup = up, &h = dh;  // in place: this record is the only owner
        grouped_linear_bwd_weights(kb, dy, h, w.down, w.down_bias, offsets_E1);
        grouped_linear_bwd_weights(kb, dup, x.value(), w.up, w.up_bias, offsets_E1, token_R);
        if (!wants_grad(x)) return;
        if (!token_R) {
          const auto [dx, accumulate] = x.grad_target();
          return grouped_linear_bwd_input(kb, dx, accumulate, dup, w.up, offsets_E1);
        }
        const Tensor dx_RD = Tensor::empty({R, x.size(1)}, dy.dtype());
        grouped_linear_bwd_input(kb, dx_RD, false, dup, w.up, offsets_E1);
        kb.scatter_add_rows(x.grad().view(), dx_RD.view(), token_R.data<int32_t>());
      });
}

}  // namespace moe::ops
