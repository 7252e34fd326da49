// SPDX-License-Identifier: MIT
#include "moe/ops/norm.h"

#include "moe/kernels/kernels.h"

namespace moe::ops {
namespace {

/// Where the kernel puts a weight's gradient: a frozen weight's is thrown away.
Tensor weight_gradient(const Var& w) {
  return w.needs_grad() ? w.grad() : Tensor::zeros(w.shape(), w.dtype());
}

}  // namespace

Var rms_norm(const Var& x_TD, const Var& w_D, double eps) {
  MOE_CHECK(x_TD.size(-1) == w_D.size(-1), "[rms_norm] x is ", x_TD.shape().text(), ", the weight ",
            w_D.shape().text());
  Tensor y = Tensor::empty(x_TD.shape(), x_TD.dtype()),
         rstd_T1 = Tensor::empty({x_TD.size(0), 1}, x_TD.dtype());
  kernels(y.dtype()).rms_norm_fwd(y.view(), rstd_T1.view(), x_TD.view(), w_D.view(), 1, eps);
  return record("rms_norm", y, {x_TD, w_D}, [=](const Tensor& dy) {
    kernels(dy.dtype())
        .rms_norm_bwd(x_TD.grad().view(), weight_gradient(w_D).view(), dy.view(), x_TD.view(),
                      rstd_T1.view(), w_D.view(), 1);
  });
}

Var rms_norm_columns(const Var& x_TN, const std::vector<NormColumns>& ranges, double eps) {
  const Kernels& k = kernels(x_TN.dtype());
  Tensor y = x_TN.value().clone();
  std::vector<Tensor> rstds;
  std::vector<Var> inputs = {x_TN};
  for (const NormColumns& r : ranges) {
    MOE_CHECK(r.groups >= 1 && r.count == r.w.value().numel() * r.groups, "[rms_norm_columns] ",
              r.count, " columns in ", r.groups, " groups do not fit a weight of ",
              r.w.shape().text());
    rstds.push_back(Tensor::empty({x_TN.size(0), r.groups}, x_TN.dtype()));
    k.rms_norm_fwd(y.view().columns(r.begin, r.count), rstds.back().view(),
                   x_TN.view().columns(r.begin, r.count), r.w.view(), r.groups, eps);
    inputs.push_back(r.w);
  }
  return record("rms_norm_columns", y, inputs, [=](const Tensor& dy) {
    const Kernels& kb = kernels(dy.dtype());
    const MatView dx = x_TN.grad().view();
    int64_t column = 0;  // copied columns lie between the ranges, which ascend
    for (size_t i = 0; i < ranges.size(); ++i) {
      const NormColumns& r = ranges[i];
      if (r.begin > column)
        kb.accumulate(dx.columns(column, r.begin - column),
                      dy.view().columns(column, r.begin - column));
      kb.rms_norm_bwd(dx.columns(r.begin, r.count), weight_gradient(r.w).view(),
                      dy.view().columns(r.begin, r.count), x_TN.view().columns(r.begin, r.count),
                      rstds[i].view(), r.w.view(), r.groups);
      column = r.begin + r.count;
    }
    if (column < dx.cols)
      kb.accumulate(dx.columns(column, dx.cols - column),
                    dy.view().columns(column, dx.cols - column));
  });
}

Var layer_norm(const Var& x_TD, const Var& w_D, const Var& b_D, double eps) {
  MOE_CHECK(x_TD.size(-1) == w_D.size(-1), "[layer_norm] x is ", x_TD.shape().text(),
            ", the weight ", w_D.shape().text());
  Tensor y = Tensor::empty(x_TD.shape(), x_TD.dtype()),
         mean_T1 = Tensor::empty({x_TD.size(0), 1}, x_TD.dtype()),
         rstd_T1 = Tensor::empty({x_TD.size(0), 1}, x_TD.dtype());
  kernels(y.dtype()).layer_norm_fwd(y.view(), mean_T1.view(), rstd_T1.view(), x_TD.view(),
                                    w_D.view(), b_D ? b_D.view() : MatView{}, eps);
  return record("layer_norm", y, {x_TD, w_D, b_D}, [=](const Tensor& dy) {
    kernels(dy.dtype())
        .layer_norm_bwd(x_TD.grad().view(), weight_gradient(w_D).view(),
                        b_D ? weight_gradient(b_D).view() : MatView{}, dy.view(), x_TD.view(),
                        mean_T1.view(), rstd_T1.view(), w_D.view());
  });
}

}  // namespace moe::ops
