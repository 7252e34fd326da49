// SPDX-License-Identifier: MIT
// RMSNorm (Zhang and Sennrich 2019, arXiv:1910.07467) and LayerNorm (Ba et al. 2016,
// arXiv:1607.06450).
#include "moe/kernels/ref/ref.h"

namespace moe::ref {
namespace {

template <class T>
void rms_norm_fwd(MatView y, MatView rstd_TG, MatView x, MatView w_1N, int64_t groups, double eps) {
  const int64_t n = x.cols / groups;
  for (int64_t t = 0; t < x.rows; ++t)
    for (int64_t g = 0; g < groups; ++g) {
      const T* in = x.row<T>(t) + g * n;
      const T squares =
          reduce_row<T>(n, [&](T sum, int64_t i) { return std::fma(in[i], in[i], sum); });
      const T rstd = T(1) / std::sqrt(squares / T(n) + T(eps));
      rstd_TG.at<T>(t, g) = rstd;
      for (int64_t i = 0; i < n; ++i) y.row<T>(t)[g * n + i] = (in[i] * rstd) * w_1N.at<T>(0, i);
    }
}

template <class T>
void rms_norm_bwd(MatView dx, MatView dw_1N, MatView dy, MatView x, MatView rstd_TG, MatView w_1N,
                  int64_t groups) {
  const int64_t n = x.cols / groups;
  for (int64_t t = 0; t < x.rows; ++t)
    for (int64_t g = 0; g < groups; ++g) {
      const T *in = x.row<T>(t) + g * n, *dout = dy.row<T>(t) + g * n, *w = w_1N.row<T>(0);
      T *din = dx.row<T>(t) + g * n, *dw = dw_1N.row<T>(0);
      const T rstd = rstd_TG.at<T>(t, g);
      const T dot = reduce_row<T>(
          n, [&](T sum, int64_t i) { return std::fma(dout[i] * w[i], in[i] * rstd, sum); });
      const T mean = dot / T(n);
      for (int64_t i = 0; i < n; ++i) {
        const T xhat = in[i] * rstd;
        din[i] = std::fma(rstd, std::fma(-xhat, mean, dout[i] * w[i]), din[i]);
        dw[i] = std::fma(dout[i], xhat, dw[i]);
      }
    }
}

template <class T>
void layer_norm_fwd(MatView y, MatView mean_T1, MatView rstd_T1, MatView x, MatView w_1N,
                    MatView b_1N, double eps) {
  const int64_t n = x.cols;
  for (int64_t t = 0; t < x.rows; ++t) {
    const T* in = x.row<T>(t);
    const T mean = reduce_row<T>(n, [&](T sum, int64_t i) { return sum + in[i]; }) / T(n);
    const T squares = reduce_row<T>(
        n, [&](T sum, int64_t i) { return std::fma(in[i] - mean, in[i] - mean, sum); });
    const T rstd = T(1) / std::sqrt(squares / T(n) + T(eps));
    mean_T1.at<T>(t, 0) = mean;
    rstd_T1.at<T>(t, 0) = rstd;
    for (int64_t i = 0; i < n; ++i) {
      const T xhat = (in[i] - mean) * rstd;
      y.at<T>(t, i) =
          b_1N ? std::fma(xhat, w_1N.at<T>(0, i), b_1N.at<T>(0, i)) : xhat * w_1N.at<T>(0, i);
    }
  }
}

template <class T>
void layer_norm_bwd(MatView dx, MatView dw_1N, MatView db_1N, MatView dy, MatView x,
                    MatView mean_T1, MatView rstd_T1, MatView w_1N) {
  const int64_t n = x.cols;
  for (int64_t t = 0; t < x.rows; ++t) {
    const T *in = x.row<T>(t), *dout = dy.row<T>(t), *w = w_1N.row<T>(0),
            mean = mean_T1.at<T>(t, 0), rstd = rstd_T1.at<T>(t, 0);
    const T mean_g =
        reduce_row<T>(n, [&](T sum, int64_t i) { return sum + dout[i] * w[i]; }) / T(n);
    const T mean_gx = reduce_row<T>(n,
                                    [&](T sum, int64_t i) {
                                      return std::fma(dout[i] * w[i], (in[i] - mean) * rstd, sum);
                                    }) /
                      T(n);
    for (int64_t i = 0; i < n; ++i) {
      const T xhat = (in[i] - mean) * rstd;
      T& din = dx.at<T>(t, i);
      din = std::fma(rstd, std::fma(-xhat, mean_gx, dout[i] * w[i] - mean_g), din);
      dw_1N.at<T>(0, i) = std::fma(dout[i], xhat, dw_1N.at<T>(0, i));
      if (db_1N) db_1N.at<T>(0, i) = db_1N.at<T>(0, i) + dout[i];
    }
  }
}

}  // namespace

template <class T>
void install_norm(Kernels& k) {
  k.rms_norm_fwd = rms_norm_fwd<T>;
  k.rms_norm_bwd = rms_norm_bwd<T>;
  k.layer_norm_fwd = layer_norm_fwd<T>;
  k.layer_norm_bwd = layer_norm_bwd<T>;
}
template void install_norm<float>(Kernels&);
template void install_norm<double>(Kernels&);

}  // namespace moe::ref
