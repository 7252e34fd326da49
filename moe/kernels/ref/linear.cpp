// SPDX-License-Identifier: MIT
// Linear maps: every output element is one chain of fused multiply-adds in ascending contraction
// index.
#include "moe/kernels/ref/ref.h"

namespace moe::ref {
namespace {

template <class T>
void grouped_gemm(const GroupedGemm& g) {
  const PanelMap& map = g.w.map;
  for (int64_t e = 0; e < g.w.experts; ++e) {
    const T* w = g.w.expert<T>(e);
    for (int64_t r = g.offsets_E1[size_t(e)]; r < g.offsets_E1[size_t(e) + 1]; ++r) {
      const T* x = g.x.row<T>(g.gather_R ? g.gather_R[r] : r);
      T* y = g.y.row<T>(g.scatter_R ? g.scatter_R[r] : r);
      for (int64_t s = 0; s < map.out_cols(); ++s) {
        const T* column = w + s / 16 * 16 * map.cols + s % 16;
        T sum = 0;
        for (int64_t k = 0; k < map.cols; ++k) sum = std::fma(x[k], column[k * 16], sum);
        if (g.bias_EN) sum = sum + g.bias_EN.at<T>(e, s);
        y[s] = g.scatter_R ? std::fma(g.weight_R1.at<T>(r, 0), sum, y[s]) : sum;
      }
    }
  }
}

template <class T>
void grouped_gemm_dx(const GroupedGemm& g) {
  const PanelMap& map = g.w.map;
  const PanelMap::Ranges valid = map.valid_ranges();
  for (int64_t e = 0; e < g.w.experts; ++e) {
    const T* w = g.w.expert<T>(e);
    for (int64_t r = g.offsets_E1[size_t(e)]; r < g.offsets_E1[size_t(e) + 1]; ++r) {
      const T* dy = g.y.row<T>(g.scatter_R ? g.scatter_R[r] : r);
      T* dx = g.x.row<T>(g.gather_R ? g.gather_R[r] : r);
      for (int64_t k = 0; k < map.cols; ++k) {
        T sum = g.accumulate && !g.gather_R ? dx[k] : T(0);
        for (int i = 0; i < valid.count; ++i)
          for (int64_t s = valid.range[size_t(i)][0]; s < valid.range[size_t(i)][1]; ++s)
            sum = std::fma(dy[s], w[s / 16 * 16 * map.cols + k * 16 + s % 16], sum);
        dx[k] = g.gather_R ? dx[k] + sum : sum;
      }
    }
  }
}

template <class T>
void grouped_gemm_dw(const GroupedGemm& g) {
  const PanelMap& map = g.w.map;
  const PanelMap::Ranges valid = map.valid_ranges();
  for (int64_t e = 0; e < g.w.experts; ++e) {
    T* w = g.w.expert<T>(e);
    if (!g.accumulate) std::fill(w, w + map.stored_numel(), T(0));
    for (int64_t r = g.offsets_E1[size_t(e)]; r < g.offsets_E1[size_t(e) + 1]; ++r) {
      const T* x = g.x.row<T>(g.gather_R ? g.gather_R[r] : r);
      const T* dy = g.y.row<T>(g.scatter_R ? g.scatter_R[r] : r);
      for (int i = 0; i < valid.count; ++i)
        for (int64_t s = valid.range[size_t(i)][0]; s < valid.range[size_t(i)][1]; ++s)
          for (int64_t k = 0; k < map.cols; ++k) {
            T& sum = w[s / 16 * 16 * map.cols + k * 16 + s % 16];
            sum = std::fma(dy[s], x[k], sum);
          }
    }
  }
}

template <class T>
void bias_bwd(MatView db_EN, MatView dy_RN, std::span<const int32_t> offsets_E1) {
  for (int64_t e = 0; e < db_EN.rows; ++e)
    for (int64_t r = offsets_E1[size_t(e)]; r < offsets_E1[size_t(e) + 1]; ++r)
      for (int64_t j = 0; j < db_EN.cols; ++j)
        db_EN.at<T>(e, j) = db_EN.at<T>(e, j) + dy_RN.at<T>(r, j);
}

template <class T>
void embedding_fwd(MatView y_TD, PanelView w_VD, std::span<const int32_t> ids_T) {
  for (size_t t = 0; t < ids_T.size(); ++t)
    for (int64_t d = 0; d < w_VD.map.cols; ++d)
      y_TD.at<T>(int64_t(t), d) = w_VD.expert<T>(0)[w_VD.map.offset(ids_T[t], d)];
}

template <class T>
void embedding_bwd(PanelView dw_VD, MatView dy_TD, std::span<const int32_t> ids_T) {
  for (size_t t = 0; t < ids_T.size(); ++t)
    for (int64_t d = 0; d < dw_VD.map.cols; ++d) {
      T& sum = dw_VD.expert<T>(0)[dw_VD.map.offset(ids_T[t], d)];
      sum = sum + dy_TD.at<T>(int64_t(t), d);
    }
}

}  // namespace

template <class T>
void install_linear(Kernels& k) {
  k.grouped_gemm = grouped_gemm<T>;
  k.grouped_gemm_dx = grouped_gemm_dx<T>;
  k.grouped_gemm_dw = grouped_gemm_dw<T>;
  k.bias_bwd = bias_bwd<T>;
  k.embedding_fwd = embedding_fwd<T>;
  k.embedding_bwd = embedding_bwd<T>;
}
template void install_linear<float>(Kernels&);
template void install_linear<double>(Kernels&);

}  // namespace moe::ref
