// SPDX-License-Identifier: MIT
#include "moe/ops/activation.h"

namespace moe::ops {

Var activation(const Var& x, Activation kind) {
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  kernels(y.dtype()).act_fwd(y.view(), x.view(), kind);
  return record("activation", y, {x}, [=](const Tensor& dy) {
    const auto [dx, accumulate] = x.grad_target();
    kernels(dy.dtype()).act_bwd(dx.view(), dy.view(), x.view(), kind, accumulate);
  });
}

Var gated_activation(const Var& gu, int64_t d_ff, Activation kind) {
  MOE_CHECK(gu.size(1) == (d_ff + 15) / 16 * 32, "[gated_activation] ", gu.size(1),
            " columns do not hold gate and up of ", d_ff);
  Tensor h_RF = Tensor::empty({gu.size(0), d_ff}, gu.dtype());
  kernels(gu.dtype()).gated_act_fwd(h_RF.view(), gu.view(), kind);
  return record("gated_activation", h_RF, {gu}, [=](const Tensor& dh) {
    const auto [dgu, accumulate] = gu.grad_target();
    kernels(dh.dtype()).gated_act_bwd(dgu.view(), dh.view(), gu.view(), kind, accumulate);
  });
}

}  // namespace moe::ops
