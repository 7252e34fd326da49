// SPDX-License-Identifier: MIT
#include "moe/ops/rows.h"

#include "moe/kernels/kernels.h"

namespace moe::ops {

Var gather_rows(const Var& x_TD, const Tensor& rows_R) {
  const std::span<const int32_t> rows = rows_R.data<int32_t>();
  for (const int32_t row : rows)
    MOE_CHECK(row >= 0 && row < x_TD.size(0), "[gather_rows] row ", row, " of ", x_TD.size(0));
  Tensor y = Tensor::empty({int64_t(rows.size()), x_TD.size(1)}, x_TD.dtype());
  kernels(y.dtype()).gather_rows(y.view(), x_TD.view(), rows);
  return record("gather_rows", y, {x_TD}, [=](const Tensor& dy) {
    kernels(dy.dtype()).scatter_add_rows(x_TD.grad().view(), dy.view(), rows_R.data<int32_t>());
  });
}

Var concat_rows(const Var& a, const Var& b) {
  MOE_CHECK(a.size(1) == b.size(1) && a.dtype() == b.dtype(), "[concat_rows] ", a.shape().text(),
            " and ", b.shape().text());
  const int64_t first = a.size(0), total = first + b.size(0);
  Tensor y = Tensor::empty({total, a.size(1)}, a.dtype());
  for (const auto& [from, to] :
       {std::pair(a.value(), y.rows(0, first)), std::pair(b.value(), y.rows(first, total))})
    if (from.stored_bytes() > 0) std::memcpy(to.raw(), from.raw(), size_t(from.stored_bytes()));
  return record("concat_rows", y, {a, b}, [=](const Tensor& dy) {
    const Kernels& k = kernels(dy.dtype());
    if (wants_grad(a)) k.accumulate(a.grad().view(), dy.rows(0, first).view());
    if (wants_grad(b)) k.accumulate(b.grad().view(), dy.rows(first, total).view());
  });
}

Var combine_rows(const Var& rows_RD, const Var& w_A, const CombinePlan& plan) {
  const int64_t T = plan.token_offsets_T1.numel() - 1, D = rows_RD.size(1),
                N = plan.row_of_N.numel();
  const DType dtype = rows_RD.dtype();
  Tensor y_TD = Tensor::empty({T, D}, dtype);
  // The weights in plan order: a gather of one column.
  Tensor w_N1 = Tensor::empty({N, 1}, dtype);
  kernels(dtype).gather_rows(w_N1.view(), w_A.view(), plan.weight_of_N.data<int32_t>());
  auto args = [=](const Tensor& y) {
    return Combine{.y_TD = y.view(),
                   .rows_RD = rows_RD.view(),
                   .w_1N = w_N1.reshape({1, N}).view(),
                   .token_offsets_T1 = plan.token_offsets_T1.data<int32_t>(),
                   .row_of_N = plan.row_of_N.data<int32_t>(),
                   .drows_RD = {},
                   .dw_1N = {}};
  };
  kernels(dtype).combine_fwd(args(y_TD));
  return record("combine_rows", y_TD, {rows_RD, w_A}, [=](const Tensor& dy) {
    Combine c = args(dy);
    Tensor dw_N1 = Tensor::zeros({N, 1}, dtype);
    // A row that no token takes has the gradient 0, which nobody else writes.
    const auto [drows, accumulate] =
        N == rows_RD.size(0) ? rows_RD.grad_target() : Var::GradTarget{rows_RD.grad(), true};
    c.drows_RD = drows.view();
    c.accumulate = accumulate;
    c.dw_1N = dw_N1.reshape({1, N}).view();
    kernels(dtype).combine_bwd(c);
    if (wants_grad(w_A))
      kernels(dtype).scatter_add_rows(w_A.grad().view(), dw_N1.view(),
                                      plan.weight_of_N.data<int32_t>());
  });
}

}  // namespace moe::ops
