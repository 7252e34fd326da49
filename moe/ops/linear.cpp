// SPDX-License-Identifier: MIT
#include "moe/ops/linear.h"

#include "moe/kernels/kernels.h"

namespace moe::ops {
namespace {

// A bias [E, O, 1] lies in memory as E rows of stored columns.
MatView bias_view(const Tensor& bias) {
  const PanelMap map = bias.panel_map();
  return {bias.raw(), bias.dtype(), bias.n_matrices(), map.out_cols(), map.stored_rows()};
}

}  // namespace

Var grouped_linear(const Var& x_RI, const Var& w_EOI, const Tensor& offsets_E1, const Var& bias) {
  const PanelView w = w_EOI.value().panels();
  const std::span<const int32_t> offsets = offsets_E1.data<int32_t>();
  MOE_CHECK(x_RI.size(-1) == w.map.cols, "[grouped_linear] x is ", x_RI.shape().text(),
            ", the weight ", w_EOI.shape().text());
  MOE_CHECK(int64_t(offsets.size()) == w.experts + 1, "[grouped_linear] weight has ", w.experts,
            " experts, offsets imply ", offsets.size() - 1);
  MOE_CHECK(offsets.front() == 0 && offsets.back() == x_RI.size(0),
            "[grouped_linear] offsets run from ", offsets.front(), " to ", offsets.back(),
            ", x has ", x_RI.size(0), " rows");
  const Kernels& k = kernels(x_RI.dtype());
  Tensor y = Tensor::empty({x_RI.size(0), w.map.out_cols()}, x_RI.dtype());
  k.grouped_gemm({.y = y.view(),
                  .x = x_RI.view(),
                  .w = w,
                  .bias_EN = bias ? bias_view(bias.value()) : MatView{},
                  .offsets_E1 = offsets});
  return record("grouped_linear", y, {x_RI, w_EOI, bias}, [=](const Tensor& dy) {
    const Kernels& kb = kernels(dy.dtype());
    const std::span<const int32_t> rows = offsets_E1.data<int32_t>();
    if (wants_grad(bias)) kb.bias_bwd(bias_view(bias.grad()), dy.view(), rows);
    if (wants_grad(w_EOI)) {
      const auto [dw, accumulate] = w_EOI.grad_target();
      kb.grouped_gemm_dw({.y = dy.view(),
                          .x = x_RI.view(),
                          .w = dw.panels(),
                          .bias_EN = {},
                          .offsets_E1 = rows,
                          .accumulate = accumulate});
    }
    if (wants_grad(x_RI)) {
      const auto [dx, accumulate] = x_RI.grad_target();
      kb.grouped_gemm_dx({.y = dy.view(),
                          .x = dx.view(),
                          .w = w_EOI.value().panels(),
                          .bias_EN = {},
                          .offsets_E1 = rows,
                          .accumulate = accumulate});
    }
  });
}

Var linear(const Var& x_TI, const Var& w_OI, const Var& bias) {
  const int32_t offsets[2] = {0, int32_t(x_TI.size(0))};
  return grouped_linear(x_TI, w_OI, Tensor::from<int32_t>({2}, offsets), bias);
}

}  // namespace moe::ops
