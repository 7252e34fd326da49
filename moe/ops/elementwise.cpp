// SPDX-License-Identifier: MIT
#include "moe/ops/elementwise.h"

#include "moe/kernels/kernels.h"

namespace moe::ops {
namespace {

void check_same(const char* op, const Var& a, const Var& b) {
  MOE_CHECK(a.shape() == b.shape() && a.dtype() == b.dtype(), "[", op, "] ", a.shape().text(),
            " and ", b.shape().text(), " differ");
}

}  // namespace

Var add(const Var& a, const Var& b) {
  check_same("add", a, b);
  Tensor y = Tensor::empty(a.shape(), a.dtype());
  kernels(y.dtype()).add(y.view(), a.view(), b.view());
  return record("add", y, {a, b}, [da = a.grad_place(), db = b.grad_place()](const Tensor& dy) {
    const Kernels& k = kernels(dy.dtype());
    // The sum's own gradient is read for the last time here: it may become that of a summand.
    bool given = false;
    for (const std::shared_ptr<GradPlace>& place : {da, db}) {
      if (!place->needs_grad()) continue;
      if (place->has_grad()) {
        k.accumulate(place->grad().view(), dy.view());
      } else {
        place->set(given ? dy.clone() : dy);
        given = true;
      }
    }
  });
}

Var multiply(const Var& a, const Var& b) {
  check_same("multiply", a, b);
  Tensor y = Tensor::empty(a.shape(), a.dtype());
  kernels(y.dtype()).multiply(y.view(), a.view(), b.view());
  return record("multiply", y, {a, b}, [=](const Tensor& dy) {
    const Kernels& k = kernels(dy.dtype());
    if (wants_grad(a)) k.multiply_accumulate(a.grad().view(), dy.view(), b.view());
    if (wants_grad(b)) k.multiply_accumulate(b.grad().view(), dy.view(), a.view());
  });
}

Var scale(const Var& x, double factor) {
  Tensor y = Tensor::empty(x.shape(), x.dtype());
  kernels(y.dtype()).scale(y.view(), x.view(), factor);
  return record("scale", y, {x}, [factor, dx = x.grad_place()](const Tensor& dy) {
    kernels(dy.dtype()).scale_accumulate(dx->grad().view(), dy.view(), factor);
  });
}

Var scale_columns(const Var& x_TD, const Var& gamma_D) {
  MOE_CHECK(x_TD.size(-1) == gamma_D.size(-1), "[scale_columns] x is ", x_TD.shape().text(),
            ", gamma ", gamma_D.shape().text());
  Tensor y = Tensor::empty(x_TD.shape(), x_TD.dtype());
  kernels(y.dtype()).scale_columns_fwd(y.view(), x_TD.view(), gamma_D.view());
  return record("scale_columns", y, {x_TD, gamma_D}, [=](const Tensor& dy) {
    kernels(dy.dtype())
        .scale_columns_bwd(x_TD.grad().view(), gamma_D.grad().view(), dy.view(), x_TD.view(),
                           gamma_D.view());
  });
}

Var scale_rows(const Var& x_TD, const Var& w_T1) {
  MOE_CHECK(w_T1.size(-1) == 1 && x_TD.size(0) == w_T1.size(0), "[scale_rows] x is ",
            x_TD.shape().text(), ", w ", w_T1.shape().text());
  Tensor y = Tensor::empty(x_TD.shape(), x_TD.dtype());
  kernels(y.dtype()).scale_rows_fwd(y.view(), x_TD.view(), w_T1.view());
  return record("scale_rows", y, {x_TD, w_T1}, [=](const Tensor& dy) {
    kernels(dy.dtype())
        .scale_rows_bwd(x_TD.grad().view(), w_T1.grad().view(), dy.view(), x_TD.view(),
                        w_T1.view());
  });
}

}  // namespace moe::ops
