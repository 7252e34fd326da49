// SPDX-License-Identifier: MIT
// Elementwise maps, and scaling by a vector over columns (LayerScale, Touvron et al. 2021,
// arXiv:2103.17239) or rows.
#include "moe/kernels/ref/ref.h"

namespace moe::ref {
namespace {

template <class T, class F>
void map(MatView y, F f) {
  for (int64_t t = 0; t < y.rows; ++t)
    for (int64_t i = 0; i < y.cols; ++i) y.at<T>(t, i) = f(t, i);
}

template <class T>
void add(MatView y, MatView a, MatView b) {
  map<T>(y, [&](int64_t t, int64_t i) { return a.at<T>(t, i) + b.at<T>(t, i); });
}
template <class T>
void multiply(MatView y, MatView a, MatView b) {
  map<T>(y, [&](int64_t t, int64_t i) { return a.at<T>(t, i) * b.at<T>(t, i); });
}
template <class T>
void scale(MatView y, MatView a, double s) {
  map<T>(y, [&](int64_t t, int64_t i) { return a.at<T>(t, i) * T(s); });
}
template <class T>
void accumulate(MatView y, MatView a) {
  map<T>(y, [&](int64_t t, int64_t i) { return y.at<T>(t, i) + a.at<T>(t, i); });
}
template <class T>
void multiply_accumulate(MatView y, MatView a, MatView b) {
  map<T>(y, [&](int64_t t, int64_t i) {
    return std::fma(a.at<T>(t, i), b.at<T>(t, i), y.at<T>(t, i));
  });
}
template <class T>
void scale_accumulate(MatView y, MatView a, double s) {
  map<T>(y, [&](int64_t t, int64_t i) { return std::fma(a.at<T>(t, i), T(s), y.at<T>(t, i)); });
}

uint16_t narrow_bits(DType type, float x) {
  return type == DType::bf16 ? f32_to_bf16(x) : f32_to_f16(x);
}
float wide_number(DType type, uint16_t bits) {
  return type == DType::bf16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

template <class T>
void narrow(MatView y, MatView x) {
  map<uint16_t>(y,
                [&](int64_t t, int64_t i) { return narrow_bits(y.dtype, float(x.at<T>(t, i))); });
}
template <class T>
void widen(MatView y, MatView x) {
  map<T>(y, [&](int64_t t, int64_t i) { return T(wide_number(x.dtype, x.at<uint16_t>(t, i))); });
}
template <class T>
void round_to(MatView y, MatView x, DType type) {
  map<T>(y, [&](int64_t t, int64_t i) {
    return T(wide_number(type, narrow_bits(type, float(x.at<T>(t, i)))));
  });
}

template <class T>
void scale_columns_fwd(MatView y, MatView x, MatView gamma_1D) {
  map<T>(y, [&](int64_t t, int64_t i) { return x.at<T>(t, i) * gamma_1D.at<T>(0, i); });
}

template <class T>
void scale_columns_bwd(MatView dx, MatView dgamma_1D, MatView dy, MatView x, MatView gamma_1D) {
  for (int64_t t = 0; t < x.rows; ++t)
    for (int64_t i = 0; i < x.cols; ++i) {
      dx.at<T>(t, i) = std::fma(dy.at<T>(t, i), gamma_1D.at<T>(0, i), dx.at<T>(t, i));
      dgamma_1D.at<T>(0, i) = std::fma(dy.at<T>(t, i), x.at<T>(t, i), dgamma_1D.at<T>(0, i));
    }
}

template <class T>
void scale_rows_fwd(MatView y, MatView x, MatView w_T1) {
  map<T>(y, [&](int64_t t, int64_t i) { return w_T1.at<T>(t, 0) * x.at<T>(t, i); });
}

template <class T>
void scale_rows_bwd(MatView dx, MatView dw_T1, MatView dy, MatView x, MatView w_T1) {
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t i = 0; i < x.cols; ++i)
      dx.at<T>(t, i) = std::fma(w_T1.at<T>(t, 0), dy.at<T>(t, i), dx.at<T>(t, i));
    const T dot = reduce_row<T>(
        x.cols, [&](T lane, int64_t i) { return std::fma(dy.at<T>(t, i), x.at<T>(t, i), lane); });
    dw_T1.at<T>(t, 0) = dw_T1.at<T>(t, 0) + dot;
  }
}

}  // namespace

template <class T>
void install_elementwise(Kernels& k) {
  k.add = add<T>;
  k.multiply = multiply<T>;
  k.scale = scale<T>;
  k.accumulate = accumulate<T>;
  k.multiply_accumulate = multiply_accumulate<T>;
  k.scale_accumulate = scale_accumulate<T>;
  k.narrow = narrow<T>;
  k.widen = widen<T>;
  k.round_to = round_to<T>;
  k.scale_columns_fwd = scale_columns_fwd<T>;
  k.scale_columns_bwd = scale_columns_bwd<T>;
  k.scale_rows_fwd = scale_rows_fwd<T>;
  k.scale_rows_bwd = scale_rows_bwd<T>;
}
template void install_elementwise<float>(Kernels&);
template void install_elementwise<double>(Kernels&);

}  // namespace moe::ref
