// SPDX-License-Identifier: MIT
#include "moe/ops/feed_forward.h"

#include "moe/ops/linear.h"

namespace moe::ops {
namespace {

// A matrix whose rows may be longer in memory than they are.
struct PaddedRows {
  Tensor storage;
  int64_t cols;
  PaddedRows(int64_t rows, int64_t columns, DType dtype)
      : storage(Tensor::empty({rows, padded_columns(columns)}, dtype)), cols(columns) {}
  MatView view() const { return storage.view().columns(0, cols); }
};

}  // namespace

int64_t padded_columns(int64_t columns) { return columns % 128 == 0 ? columns + 16 : columns; }

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
  const PaddedRows up(R, up_map.out_cols(), dtype), h_RF(R, w.d_ff, dtype);
  Tensor y_RD = Tensor::empty({R, w.down.value().panel_map().out_cols()}, dtype);
  grouped_linear_fwd(k, up.view(), x.value().view(), w.up, w.up_bias, offsets_E1, token_R);
  (w.gated ? k.gated_act_fwd : k.act_fwd)(h_RF.view(), up.view(), w.kind);
  grouped_linear_fwd(k, y_RD.view(), h_RF.view(), w.down, w.down_bias, offsets_E1);
  return record(
      "feed_forward", y_RD, {x, w.up, w.up_bias, w.down, w.down_bias}, [=](const Tensor& dy) {
        const Kernels& kb = kernels(dy.dtype());
        const PaddedRows dh(R, w.d_ff, dy.dtype());
        grouped_linear_bwd_input(kb, dh.view(), false, dy.view(), w.down, offsets_E1);
        (w.gated ? kb.gated_act_bwd_and_fwd : kb.act_bwd_and_fwd)(up.view(), dh.view(), w.kind);
        const MatView dup = up.view(), h = dh.view();  // in place: this record is the only owner
        grouped_linear_bwd_weights(kb, dy.view(), h, w.down, w.down_bias, offsets_E1);
        grouped_linear_bwd_weights(kb, dup, x.value().view(), w.up, w.up_bias, offsets_E1, token_R);
        if (!wants_grad(x)) return;
        if (!token_R) {
          const auto [dx, accumulate] = x.grad_target();
          return grouped_linear_bwd_input(kb, dx.view(), accumulate, dup, w.up, offsets_E1);
        }
        const Tensor dx_RD = Tensor::empty({R, x.size(1)}, dy.dtype());
        grouped_linear_bwd_input(kb, dx_RD.view(), false, dup, w.up, offsets_E1);
        kb.scatter_add_rows(x.grad().view(), dx_RD.view(), token_R.data<int32_t>());
      });
}

}  // namespace moe::ops
