// SPDX-License-Identifier: MIT
// Softmax over rows, and cross-entropy fused with log-softmax: loss = (max - z_target) + log(sum
// exp(z - max)).
#include "moe/kernels/ref/ref.h"

namespace moe::ref {
namespace {

template <class T>
constexpr T kMinusInf = -std::numeric_limits<T>::infinity();

template <class T>
void softmax_fwd(MatView p, MatView z) {
  for (int64_t t = 0; t < z.rows; ++t) {
    const T* in = z.row<T>(t);
    T* out = p.row<T>(t);
    const T m = max_of_row(in, z.cols, kMinusInf<T>);
    const T sum = reduce_row<T>(z.cols, [&](T lane, int64_t i) { return lane + exp_(in[i] - m); });
    for (int64_t i = 0; i < z.cols; ++i) out[i] = exp_(in[i] - m) / sum;
  }
}

template <class T>
void softmax_bwd(MatView dz, MatView dp, MatView p) {
  for (int64_t t = 0; t < p.rows; ++t) {
    const T *y = p.row<T>(t), *dy = dp.row<T>(t);
    T* dx = dz.row<T>(t);
    const T dot =
        reduce_row<T>(p.cols, [&](T lane, int64_t i) { return std::fma(dy[i], y[i], lane); });
    for (int64_t i = 0; i < p.cols; ++i) dx[i] = std::fma(y[i], dy[i] - dot, dx[i]);
  }
}

template <class T>
void cross_entropy_fwd(MatView loss_T1, MatView max_T1, MatView sum_T1, MatView z_TV,
                       std::span<const int32_t> targets_T) {
  for (int64_t t = 0; t < z_TV.rows; ++t) {
    const T* z = z_TV.row<T>(t);
    const T m = max_of_row(z, z_TV.cols, kMinusInf<T>);
    const T sum =
        reduce_row<T>(z_TV.cols, [&](T lane, int64_t i) { return lane + exp_(z[i] - m); });
    const int32_t target = targets_T[size_t(t)];
    max_T1.at<T>(t, 0) = m;
    sum_T1.at<T>(t, 0) = sum;
    loss_T1.at<T>(t, 0) = target < 0 ? T(0) : (m - z[target]) + log_(sum);
  }
}

template <class T>
void cross_entropy_bwd(MatView dz_TV, MatView z_TV, MatView max_T1, MatView sum_T1,
                       std::span<const int32_t> targets_T, double scale) {
  for (int64_t t = 0; t < z_TV.rows; ++t) {
    const int32_t target = targets_T[size_t(t)];
    if (target < 0) continue;
    const T *z = z_TV.row<T>(t), m = max_T1.at<T>(t, 0), sum = sum_T1.at<T>(t, 0);
    T* dz = dz_TV.row<T>(t);
    for (int64_t i = 0; i < z_TV.cols; ++i) {
      const T p = exp_(z[i] - m) / sum;
      dz[i] = std::fma(i == target ? p - T(1) : p, T(scale), dz[i]);
    }
  }
}

}  // namespace

template <class T>
void install_softmax(Kernels& k) {
  k.softmax_fwd = softmax_fwd<T>;
  k.softmax_bwd = softmax_bwd<T>;
  k.cross_entropy_fwd = cross_entropy_fwd<T>;
  k.cross_entropy_bwd = cross_entropy_bwd<T>;
}
template void install_softmax<float>(Kernels&);
template void install_softmax<double>(Kernels&);

}  // namespace moe::ref
