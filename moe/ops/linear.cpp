// SPDX-License-Identifier: MIT
#include "moe/ops/linear.h"

namespace moe::ops {
namespace {

// A bias [E, O, 1] lies in memory as E rows of stored columns.
MatView bias_view(const Tensor& bias) {
  const PanelMap map = bias.panel_map();
  return {bias.raw(), bias.dtype(), bias.n_matrices(), map.out_cols(), map.stored_rows()};
}

const int32_t* row_numbers(const Tensor& rows_R) {
  return rows_R ? rows_R.data<int32_t>().data() : nullptr;
}

}  // namespace

void grouped_linear_fwd(const Kernels& k, const MatView& y, const MatView& x, const Var& w,
                        const Var& bias, const Tensor& offsets_E1, const ProductRows& rows) {
  const PanelView panels = w.value().panels();
  const std::span<const int32_t> offsets = offsets_E1.data<int32_t>();
  const int64_t n_rows = rows.y ? rows.y.numel() : y.rows;
  MOE_CHECK(x.cols == panels.map.cols, "[grouped_linear] x is [", x.rows, ", ", x.cols,
            "], the weight ", w.shape().text());
  MOE_CHECK(int64_t(offsets.size()) == panels.experts + 1, "[grouped_linear] weight has ",
            panels.experts, " experts, offsets imply ", offsets.size() - 1);
  MOE_CHECK(offsets.front() == 0 && offsets.back() == n_rows, "[grouped_linear] offsets run from ",
            offsets.front(), " to ", offsets.back(), ", there are ", n_rows, " rows");
  k.grouped_gemm({.y = y,
                  .x = x,
                  .w = panels,
                  .bias_EN = bias ? bias_view(bias.value()) : MatView{},
                  .offsets_E1 = offsets,
                  .gather_R = row_numbers(rows.x),
                  .scatter_R = row_numbers(rows.y),
                  .weight_R1 = rows.y ? rows.weight_R1.view() : MatView{}});
}

void grouped_linear_bwd_weights(const Kernels& k, const MatView& dy, const MatView& x, const Var& w,
                                const Var& bias, const Tensor& offsets_E1,
                                const ProductRows& rows) {
  const std::span<const int32_t> offsets = offsets_E1.data<int32_t>();
  if (wants_grad(bias)) k.bias_bwd(bias_view(bias.grad()), dy, offsets);
  if (!wants_grad(w)) return;
  const auto [dw, accumulate] = w.grad_target();
  k.grouped_gemm_dw({.y = dy,
                     .x = x,
                     .w = dw.panels(),
                     .bias_EN = {},
                     .offsets_E1 = offsets,
                     .gather_R = row_numbers(rows.x),
                     .scatter_R = row_numbers(rows.y),
                     .weight_R1 = {},
                     .accumulate = accumulate});
}

void grouped_linear_bwd_input(const Kernels& k, const MatView& dx, bool accumulate,
                              const MatView& dy, const Var& w, const Tensor& offsets_E1,
                              const ProductRows& rows) {
  k.grouped_gemm_dx({.y = dy,
                     .x = dx,
                     .w = w.value().panels(),
                     .bias_EN = {},
                     .offsets_E1 = offsets_E1.data<int32_t>(),
                     .gather_R = row_numbers(rows.x),
                     .scatter_R = row_numbers(rows.y),
                     .weight_R1 = {},
                     .accumulate = accumulate});
}

namespace {

Var narrow_grouped_linear(const Var& x_RI, const Var& w_EOI, const Tensor& offsets_E1,
                          const Var& bias, Precision precision) {
  const Kernels& k = kernels(DType::f32);
  const DType type = precision.type;
  const Narrow x(x_RI.value(), type);
  const Tensor y = Tensor::empty({x_RI.size(0), w_EOI.value().panel_map().out_cols()}, DType::f32);
  grouped_linear_fwd(k, y.view(), x.wide().view(), Var(rounded(w_EOI.value(), type)), bias,
                     offsets_E1);
  if (precision.round_result) round_numbers(y.view(), type);
  return record(
      "grouped_linear", y, {x_RI, w_EOI, bias}, [=, dx_place = x_RI.grad_place()](const Tensor& d) {
        const Kernels& kb = kernels(DType::f32);
        const Tensor dy = rounded(d, type);
        grouped_linear_bwd_weights(kb, dy.view(), x.wide().view(), w_EOI, bias, offsets_E1);
        if (!dx_place->needs_grad()) return;
        const Tensor dx = dx_place->empty();
        grouped_linear_bwd_input(kb, dx.view(), false, dy.view(), Var(rounded(w_EOI.value(), type)),
                                 offsets_E1);
        round_numbers(dx.view(), type);
        add_gradient(*dx_place, dx);
      });
}

}  // namespace

Var grouped_linear(const Var& x_RI, const Var& w_EOI, const Tensor& offsets_E1, const Var& bias,
                   Precision precision) {
  if (precision.is_narrow()) return narrow_grouped_linear(x_RI, w_EOI, offsets_E1, bias, precision);
  const Kernels& k = kernels(x_RI.dtype());
  Tensor y = Tensor::empty({x_RI.size(0), w_EOI.value().panel_map().out_cols()}, x_RI.dtype());
  grouped_linear_fwd(k, y.view(), x_RI.value().view(), w_EOI, bias, offsets_E1);
  return record("grouped_linear", y, {x_RI, w_EOI, bias}, [=](const Tensor& dy) {
    const Kernels& kb = kernels(dy.dtype());
    grouped_linear_bwd_weights(kb, dy.view(), x_RI.value().view(), w_EOI, bias, offsets_E1);
    if (!wants_grad(x_RI)) return;
    const auto [dx, accumulate] = x_RI.grad_target();
    grouped_linear_bwd_input(kb, dx.view(), accumulate, dy.view(), w_EOI, offsets_E1);
  });
}

Var linear(const Var& x_TI, const Var& w_OI, const Var& bias, Precision precision) {
  return grouped_linear(x_TI, w_OI, one_group(x_TI.size(0)), bias, precision);
}

Tensor one_group(int64_t n_rows) {
  const int32_t offsets[2] = {0, int32_t(n_rows)};
  return Tensor::from<int32_t>({2}, offsets);
}

}  // namespace moe::ops
