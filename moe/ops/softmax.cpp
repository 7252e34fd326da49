// SPDX-License-Identifier: MIT
#include "moe/ops/softmax.h"

#include "moe/kernels/kernels.h"

namespace moe::ops {

Var softmax(const Var& z_TN) {
  Tensor p = Tensor::empty(z_TN.shape(), z_TN.dtype());
  kernels(p.dtype()).softmax_fwd(p.view(), z_TN.view());
  return record("softmax", p, {z_TN}, [p, place = z_TN.grad_place()](const Tensor& dp) {
    kernels(dp.dtype()).softmax_bwd(place->grad().view(), dp.view(), p.view());
  });
}

}  // namespace moe::ops
