// SPDX-License-Identifier: MIT
// Moving rows: gather, scatter, the weighted combination of expert outputs, and top-k.
#include "moe/kernels/ref/ref.h"

namespace moe::ref {
namespace {

template <class T>
void gather_rows(MatView y_RD, MatView x_TD, std::span<const int32_t> rows_R) {
  for (size_t r = 0; r < rows_R.size(); ++r)
    for (int64_t i = 0; i < x_TD.cols; ++i) y_RD.at<T>(int64_t(r), i) = x_TD.at<T>(rows_R[r], i);
}

template <class T>
void scatter_add_rows(MatView x_TD, MatView y_RD, std::span<const int32_t> rows_R) {
  for (size_t r = 0; r < rows_R.size(); ++r)
    for (int64_t i = 0; i < x_TD.cols; ++i)
      x_TD.at<T>(rows_R[r], i) = x_TD.at<T>(rows_R[r], i) + y_RD.at<T>(int64_t(r), i);
}

template <class T>
void combine_fwd(const Combine& c) {
  for (int64_t t = 0; t < c.y_TD.rows; ++t)
    for (int64_t i = 0; i < c.y_TD.cols; ++i) {
      T sum = 0;
      for (int32_t n = c.token_offsets_T1[size_t(t)]; n < c.token_offsets_T1[size_t(t) + 1]; ++n)
        sum = std::fma(c.w_1N.at<T>(0, n), c.rows_RD.at<T>(c.row_of_N[size_t(n)], i), sum);
      c.y_TD.at<T>(t, i) = sum;
    }
}

template <class T>
void combine_bwd(const Combine& c) {
  for (int64_t t = 0; t < c.y_TD.rows; ++t)
    for (int32_t n = c.token_offsets_T1[size_t(t)]; n < c.token_offsets_T1[size_t(t) + 1]; ++n) {
      const T *dy = c.y_TD.row<T>(t), *row = c.rows_RD.row<T>(c.row_of_N[size_t(n)]),
              w = c.w_1N.at<T>(0, n);
      T* drow = c.drows_RD.row<T>(c.row_of_N[size_t(n)]);
      const T dot = reduce_row<T>(c.y_TD.cols,
                                  [&](T lane, int64_t i) { return std::fma(row[i], dy[i], lane); });
      c.dw_1N.at<T>(0, n) = c.dw_1N.at<T>(0, n) + dot;
      for (int64_t i = 0; i < c.y_TD.cols; ++i)
        drow[i] = std::fma(w, dy[i], c.accumulate ? drow[i] : T(0));
    }
}

template <class T>
void top_k(std::span<int32_t> index_TK, MatView z_TE, int64_t k) {
  for (int64_t t = 0; t < z_TE.rows; ++t) {
    int32_t* chosen = index_TK.data() + t * k;
    const T* z = z_TE.row<T>(t);
    for (int64_t j = 0; j < k; ++j) {
      int32_t best = -1;
      for (int32_t e = 0; e < z_TE.cols; ++e) {
        bool taken = false;
        for (int64_t i = 0; i < j; ++i) taken = taken || chosen[i] == e;
        if (taken) continue;
        // The first candidate leads; a number beats a NaN, a larger number beats a smaller one.
        if (best < 0 || z[e] > z[best] || (z[best] != z[best] && z[e] == z[e])) best = e;
      }
      chosen[j] = best;
    }
  }
}

}  // namespace

template <class T>
void install_rows(Kernels& k) {
  k.gather_rows = gather_rows<T>;
  k.scatter_add_rows = scatter_add_rows<T>;
  k.combine_fwd = combine_fwd<T>;
  k.combine_bwd = combine_bwd<T>;
  k.top_k = top_k<T>;
}
template void install_rows<float>(Kernels&);
template void install_rows<double>(Kernels&);

}  // namespace moe::ref
