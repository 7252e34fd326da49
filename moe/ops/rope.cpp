// SPDX-License-Identifier: MIT
#include "moe/ops/rope.h"

#include "moe/kernels/kernels.h"

namespace moe::ops {
namespace {

Rope kernel_args(const RopeArgs& a) {
  return {.cos_PR = a.cos_PR.view(),
          .sin_PR = a.sin_PR.view(),
          .positions_T = a.positions_T.data<int32_t>(),
          .heads = a.heads,
          .head_dim = a.head_dim,
          .rotary_dim = a.rotary_dim,
          .interleaved = a.interleaved};
}

}  // namespace

Var rope(const Var& x_TN, const RopeArgs& args) {
  const int64_t rotated = args.heads * args.head_dim, rest = x_TN.size(1) - rotated;
  MOE_CHECK(rest >= 0 && args.rotary_dim % 2 == 0 && args.rotary_dim <= args.head_dim, "[rope] ",
            args.heads, " heads of ", args.head_dim, " with ", args.rotary_dim,
            " rotated do not fit ", x_TN.shape().text());
  for (const int32_t p : args.positions_T.data<int32_t>())
    MOE_CHECK(p >= 0 && p < args.cos_PR.size(0), "[rope] position ", p, " is beyond the table of ",
              args.cos_PR.size(0));
  Tensor y = args.in_place ? x_TN.value() : x_TN.value().clone();
  kernels(y.dtype()).rope_fwd(y.view().columns(0, rotated), x_TN.view().columns(0, rotated),
                              kernel_args(args));
  return record("rope", y, {x_TN}, [=, place = x_TN.grad_place()](const Tensor& dy) {
    const Kernels& k = kernels(dy.dtype());
    Rope r = kernel_args(args);
    const MatView dy_rotated = dy.view().columns(0, rotated);
    if (!place->has_grad()) {  // dy, read for the last time, becomes dx
      r.accumulate = false;
      k.rope_bwd(dy_rotated, dy_rotated, r);
      place->set(dy);
      return;
    }
    const MatView dx = place->grad().view();
    k.rope_bwd(dx.columns(0, rotated), dy_rotated, r);
    if (rest > 0) k.accumulate(dx.columns(rotated, rest), dy.view().columns(rotated, rest));
  });
}

}  // namespace moe::ops
