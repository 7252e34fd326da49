// SPDX-License-Identifier: MIT
// Pointwise activations and their gated forms (Shazeer 2020, arXiv:2002.05202). GELU: Hendrycks and
// Gimpel, arXiv:1606.08415.
#include "moe/kernels/ref/ref.h"

namespace moe::ref {
namespace {

template <class T>
struct ValueAndSlope {
  T value, slope;
};

// f(x) and f'(x). The order of operations is part of the contract.
template <class T>
ValueAndSlope<T> activate(T x, Activation kind) {
  using namespace math_constants;
  switch (kind) {
    case Activation::relu: return {x < T(0) ? T(0) : x, x > T(0) ? T(1) : T(0)};
    case Activation::sigmoid: {
      const T s = sigmoid_(x);
      return {s, s * (T(1) - s)};
    }
    case Activation::silu: {
      const T s = sigmoid_(x);
      return {x * s, s * std::fma(x, T(1) - s, T(1))};
    }
    case Activation::gelu_tanh: {
      const bool f32 = sizeof(T) == 4;
      const T c = f32 ? T(kSqrt2OverPi) : T(0.79788456080286535588),
              c1 = f32 ? T(kGeluCubic) : T(0.044715), c3 = f32 ? T(kGeluCubic3) : T(0.134145);
      const T square = x * x, u = c * std::fma(c1 * square, x, x), t = tanh_(u), half = T(0.5) * x;
      const T value = half * (T(1) + t);
      const T slope = std::fma(half * std::fma(-t, t, T(1)), c * std::fma(c3, square, T(1)),
                               T(0.5) * (T(1) + t));
      return {value, slope};
    }
    case Activation::gelu_erf: {
      const bool f32 = sizeof(T) == 4;
      const T root = f32 ? T(kSqrtHalf) : T(0.70710678118654752440),
              density = f32 ? T(kInvSqrt2Pi) : T(0.39894228040143267794);
      const T phi = T(0.5) * (T(1) + erf_(x * root));
      return {x * phi, std::fma(x, density * exp_(T(-0.5) * (x * x)), phi)};
    }
  }
  return {};
}

template <class T>
void act_fwd(MatView y, MatView x, Activation kind) {
  for (int64_t t = 0; t < x.rows; ++t)
    for (int64_t i = 0; i < x.cols; ++i) y.at<T>(t, i) = activate(x.at<T>(t, i), kind).value;
}

template <class T>
void act_bwd(MatView dx, MatView dy, MatView x, Activation kind, bool accumulate) {
  for (int64_t t = 0; t < x.rows; ++t)
    for (int64_t i = 0; i < x.cols; ++i)
      dx.at<T>(t, i) = std::fma(dy.at<T>(t, i), activate(x.at<T>(t, i), kind).slope,
                                accumulate ? dx.at<T>(t, i) : T(0));
}

// Column of gate i in the alternating panels; its up partner is 16 further.
int64_t gate_column(int64_t i) { return i / 16 * 32 + i % 16; }

template <class T>
void gated_act_fwd(MatView h_RF, MatView gu, Activation kind) {
  for (int64_t r = 0; r < h_RF.rows; ++r)
    for (int64_t i = 0; i < h_RF.cols; ++i) {
      const T *gate = gu.row<T>(r) + gate_column(i), up = gate[16];
      h_RF.at<T>(r, i) = activate(*gate, kind).value * up;
    }
}

template <class T>
void gated_act_bwd(MatView dgu, MatView dh_RF, MatView gu, Activation kind, bool accumulate) {
  for (int64_t r = 0; r < dh_RF.rows; ++r)
    for (int64_t i = 0; i < dh_RF.cols; ++i) {
      const T *gate = gu.row<T>(r) + gate_column(i), up = gate[16], dh = dh_RF.at<T>(r, i);
      T* dgate = dgu.row<T>(r) + gate_column(i);
      const ValueAndSlope<T> f = activate(*gate, kind);
      dgate[0] = std::fma(dh * up, f.slope, accumulate ? dgate[0] : T(0));
      dgate[16] = std::fma(dh, f.value, accumulate ? dgate[16] : T(0));
    }
  if (accumulate) return;
  for (int64_t i = dh_RF.cols; i < gu.cols / 2; ++i)  // pads
    for (int64_t r = 0; r < dh_RF.rows; ++r)
      dgu.row<T>(r)[gate_column(i)] = dgu.row<T>(r)[gate_column(i) + 16] = T(0);
}

// What a weighted sum makes of a row's value and of the gradient that reaches it; returns what the
// weight's own gradient takes.
template <class T>
T weigh_row(T* value, T* dh, int64_t n, T weight) {
  const T dot =
      reduce_row<T>(n, [&](T lane, int64_t i) { return std::fma(value[i], dh[i], lane); });
  for (int64_t i = 0; i < n; ++i) {
    value[i] = weight * value[i];
    dh[i] = weight * dh[i];
  }
  return dot;
}

template <class T, bool kGated>
void backward_and_value(MatView in, MatView dh_RF, Activation kind, MatView w_R1, MatView dw_R1) {
  const auto column = [](int64_t i) { return kGated ? gate_column(i) : i; };
  std::vector<T> value(size_t(dh_RF.cols));
  for (int64_t r = 0; r < dh_RF.rows; ++r) {
    T *row = in.row<T>(r), *dh = dh_RF.row<T>(r);
    for (int64_t i = 0; i < dh_RF.cols; ++i)
      value[size_t(i)] =
          activate(row[column(i)], kind).value * (kGated ? row[column(i) + 16] : T(1));
    if (w_R1) {
      const T dot = weigh_row(value.data(), dh, dh_RF.cols, w_R1.at<T>(r, 0));
      if (dw_R1) dw_R1.at<T>(r, 0) = dw_R1.at<T>(r, 0) + dot;
    }
    for (int64_t i = 0; i < dh_RF.cols; ++i) {
      const ValueAndSlope<T> f = activate(row[column(i)], kind);
      T* gate = row + column(i);
      if (kGated) {
        gate[0] = std::fma(dh[i] * gate[16], f.slope, T(0));
        gate[16] = std::fma(dh[i], f.value, T(0));
      } else {
        gate[0] = std::fma(dh[i], f.slope, T(0));
      }
      dh[i] = value[size_t(i)];
    }
    for (int64_t i = dh_RF.cols; kGated && i < in.cols / 2; ++i)  // pads
      row[gate_column(i)] = row[gate_column(i) + 16] = T(0);
  }
}

template <class T>
void act_bwd_and_fwd(MatView x, MatView dy, Activation kind, MatView w_R1, MatView dw_R1) {
  backward_and_value<T, false>(x, dy, kind, w_R1, dw_R1);
}
template <class T>
void gated_act_bwd_and_fwd(MatView gu, MatView dh_RF, Activation kind, MatView w_R1,
                           MatView dw_R1) {
  backward_and_value<T, true>(gu, dh_RF, kind, w_R1, dw_R1);
}

}  // namespace

template <class T>
void install_activation(Kernels& k) {
  k.act_fwd = act_fwd<T>;
  k.act_bwd = act_bwd<T>;
  k.gated_act_fwd = gated_act_fwd<T>;
  k.gated_act_bwd = gated_act_bwd<T>;
  k.act_bwd_and_fwd = act_bwd_and_fwd<T>;
  k.gated_act_bwd_and_fwd = gated_act_bwd_and_fwd<T>;
}
template void install_activation<float>(Kernels&);
template void install_activation<double>(Kernels&);

}  // namespace moe::ref
