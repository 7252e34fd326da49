// SPDX-License-Identifier: MIT
#include "moe/ops/precision.h"

namespace moe::ops {
namespace {

// All stored numbers, whatever their layout.
MatView flat(const Tensor& t) {
  return {t.raw(), t.dtype(), 1, t.stored_numel(), t.stored_numel()};
}

void check_float(DType type) {
  MOE_CHECK(type == DType::f32, "[precision] products of ", dtype_name(type),
            " numbers are not rounded; compute_dtype must be f32 here");
}

}  // namespace

Tensor rounded(const Tensor& t, DType type) {
  check_float(t.dtype());
  const Tensor out = Tensor::empty(t.shape(), DType::f32, t.layout());
  kernels(DType::f32).round_to(flat(out), flat(t), type);
  return out;
}

void round_numbers(const MatView& x, DType type) {
  check_float(x.dtype);
  kernels(DType::f32).round_to(x, x, type);
}

Narrow::Narrow(const Tensor& t, DType type) : t_(Tensor::empty(t.shape(), type, t.layout())) {
  check_float(t.dtype());
  kernels(DType::f32).narrow(flat(t_), flat(t));
}

Tensor Narrow::wide() const {
  const Tensor out = Tensor::empty(t_.shape(), DType::f32, t_.layout());
  kernels(DType::f32).widen(flat(out), flat(t_));
  return out;
}

void add_gradient(GradPlace& place, const Tensor& d) {
  if (place.has_grad())
    accumulate(place.grad(), d);
  else
    place.set(d);
}

}  // namespace moe::ops
