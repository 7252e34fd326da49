// SPDX-License-Identifier: MIT
#include "moe/ops/select.h"

#include <limits>

#include "moe/kernels/math.h"

namespace moe::ops {
namespace {

// Calls f with a value of the tensor's floating type.
template <class F>
void with_type(DType dtype, F f) {
  if (dtype == DType::f64)
    f(double{});
  else if (dtype == DType::f32)
    f(float{});
  else
    throw Error(str("[select] no arithmetic in ", dtype_name(dtype)));
}

// dz[a] += y[a] * (dy[a] - sum over the token of dy y): the backward of a softmax, from its output.
template <class T>
void softmax_backward(std::span<T> dz, std::span<const T> dy, std::span<const T> y,
                      std::span<const int32_t> token, int64_t n_tokens) {
  std::vector<T> dot(size_t(n_tokens), T(0));
  for (size_t a = 0; a < y.size(); ++a) dot[size_t(token[a])] += dy[a] * y[a];
  for (size_t a = 0; a < y.size(); ++a) dz[a] += y[a] * (dy[a] - dot[size_t(token[a])]);
}

}  // namespace

Var select_elements(const Var& x_TE, const Tensor& row_A, const Tensor& column_A) {
  const int64_t A = row_A.numel(), E = x_TE.size(1);
  Tensor y = Tensor::empty({A, 1}, x_TE.dtype());
  // Calls f(a, place of element a).
  auto each = [=](auto f) {
    const std::span<const int32_t> row = row_A.data<int32_t>(), column = column_A.data<int32_t>();
    for (size_t a = 0; a < size_t(A); ++a) f(a, size_t(row[a] * E + column[a]));
  };
  with_type(x_TE.dtype(), [&]<class T>(T) {
    const std::span<T> to = y.data<T>(), from = x_TE.value().data<T>();
    each([&](size_t a, size_t at) { to[a] = from[at]; });
  });
  return record("select_elements", y, {x_TE}, [=](const Tensor& dy) {
    with_type(dy.dtype(), [&]<class T>(T) {
      const std::span<T> to = x_TE.grad().data<T>(), from = dy.data<T>();
      each([&](size_t a, size_t at) { to[at] += from[a]; });
    });
  });
}

Var normalize_per_token(const Var& w_A1, const Tensor& token_A, int64_t n_tokens) {
  Tensor y = Tensor::empty(w_A1.shape(), w_A1.dtype()),
         sum_T = Tensor::empty({n_tokens}, w_A1.dtype());
  const std::span<const int32_t> token = token_A.data<int32_t>();
  with_type(y.dtype(), [&]<class T>(T) {
    const std::span<T> sum = sum_T.data<T>(), w = w_A1.value().data<T>(), out = y.data<T>();
    std::fill(sum.begin(), sum.end(), T(1e-20));
    for (size_t a = 0; a < w.size(); ++a) sum[size_t(token[a])] += w[a];
    for (size_t a = 0; a < w.size(); ++a) out[a] = w[a] / sum[size_t(token[a])];
  });
  return record("normalize_per_token", y, {w_A1}, [=](const Tensor& dy) {
    with_type(dy.dtype(), [&]<class T>(T) {
      const std::span<const int32_t> tokens = token_A.data<int32_t>();
      const std::span<T> d = dy.data<T>(), out = y.data<T>(), sum = sum_T.data<T>(),
                         dw = w_A1.grad().data<T>();
      std::vector<T> dot(size_t(n_tokens), T(0));
      for (size_t a = 0; a < d.size(); ++a) dot[size_t(tokens[a])] += d[a] * out[a];
      for (size_t a = 0; a < d.size(); ++a)
        dw[a] += (d[a] - dot[size_t(tokens[a])]) / sum[size_t(tokens[a])];
    });
  });
}

Var softmax_per_token(const Var& z_A1, const Tensor& token_A, int64_t n_tokens) {
  Tensor y = Tensor::empty(z_A1.shape(), z_A1.dtype());
  const std::span<const int32_t> token = token_A.data<int32_t>();
  with_type(y.dtype(), [&]<class T>(T) {
    const std::span<T> z = z_A1.value().data<T>(), out = y.data<T>();
    std::vector<T> top(size_t(n_tokens), -std::numeric_limits<T>::infinity()),
        sum(size_t(n_tokens), T(0));
    for (size_t a = 0; a < z.size(); ++a)
      top[size_t(token[a])] = std::max(top[size_t(token[a])], z[a]);
    for (size_t a = 0; a < z.size(); ++a)
      sum[size_t(token[a])] += out[a] = exp_(z[a] - top[size_t(token[a])]);
    for (size_t a = 0; a < z.size(); ++a) out[a] /= sum[size_t(token[a])];
  });
  return record("softmax_per_token", y, {z_A1}, [=](const Tensor& dy) {
    with_type(dy.dtype(), [&]<class T>(T) {
      softmax_backward<T>(z_A1.grad().data<T>(), dy.data<T>(), y.data<T>(), token_A.data<int32_t>(),
                          n_tokens);
    });
  });
}

}  // namespace moe::ops
