// SPDX-License-Identifier: MIT
// Moving rows: gather, scatter, the weighted combination of expert outputs, and top-k. Threads
// split rows, except where several rows add to one (scatter): there they split columns.

// clang-format off: foreach_target.h includes this file again, so it comes first
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moe/kernels/cpu/rows.cpp"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#include "hwy/foreach_target.h"
// clang-format on
#include <cstring>

#include "moe/kernels/cpu/frame.h"
#include "moe/kernels/cpu/lanes-inl.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {
namespace {

void gather_rows(MatView y_RD, MatView x_TD, std::span<const int32_t> rows_R) {
  if (x_TD.cols == 0) return;
  for_row_ranges(int64_t(rows_R.size()), x_TD.cols, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      std::memcpy(y_RD.row<float>(r), x_TD.row<float>(rows_R[size_t(r)]),
                  size_t(x_TD.cols) * sizeof(float));
  });
}

void scatter_add_rows(MatView x_TD, MatView y_RD, std::span<const int32_t> rows_R) {
  for_column_ranges(x_TD.cols, int64_t(rows_R.size()), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (size_t r = 0; r < rows_R.size(); ++r) {
      float* x = x_TD.row<float>(rows_R[r]);
      const float* y = y_RD.row<float>(int64_t(r));
      for_each_vector(begin, end,
                      [&](auto at) HWY_ATTR { at.store(hn::Add(at.load(x), at.load(y)), x); });
    }
  });
}

void combine_fwd(const Combine& c) {
  constexpr int64_t kVectors = 4;  // chains side by side, against the latency of a multiply-add
  const F32 d;
  for_row_ranges(c.y_TD.rows, c.y_TD.cols * 2, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t n0 = c.token_offsets_T1[size_t(t)], n1 = c.token_offsets_T1[size_t(t) + 1];
      const float* w = c.w_1N.row<float>(0);
      const auto row = [&](int64_t n) { return c.rows_RD.row<float>(c.row_of_N[size_t(n)]); };
      float* y = c.y_TD.row<float>(t);
      int64_t i = 0;
      for (; i + kVectors * kLanes <= c.y_TD.cols; i += kVectors * kLanes) {
        F32Vec sum[kVectors];
        for (auto& s : sum) s = hn::Zero(d);
        for (int64_t n = n0; n < n1; ++n)
          for (int64_t v = 0; v < kVectors; ++v)
            sum[v] = hn::MulAdd(hn::Set(d, w[n]), Whole{i + v * kLanes}.load(row(n)), sum[v]);
        for (int64_t v = 0; v < kVectors; ++v) Whole{i + v * kLanes}.store(sum[v], y);
      }
      for_each_vector(i, c.y_TD.cols, [&](auto at) HWY_ATTR {
        F32Vec sum = hn::Zero(d);
        for (int64_t n = n0; n < n1; ++n) sum = hn::MulAdd(hn::Set(d, w[n]), at.load(row(n)), sum);
        at.store(sum, y);
      });
    }
  });
}

void combine_bwd(const Combine& c) {
  for_row_ranges(c.y_TD.rows, c.y_TD.cols * 4, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      const float* dy = c.y_TD.row<float>(t);
      for (int64_t n = c.token_offsets_T1[size_t(t)]; n < c.token_offsets_T1[size_t(t) + 1]; ++n) {
        const float* row = c.rows_RD.row<float>(c.row_of_N[size_t(n)]);
        float* drow = c.drows_RD.row<float>(c.row_of_N[size_t(n)]);
        const F32Vec w = hn::Set(F32(), c.w_1N.at<float>(0, n));
        for_each_vector(0, c.y_TD.cols, [&](auto at) HWY_ATTR {
          const F32Vec old = c.accumulate ? at.load(drow) : hn::Zero(F32());
          at.store(hn::MulAdd(w, at.load(dy), old), drow);
        });
        const float dot = reduce_row(c.y_TD.cols, [&](F32Vec lane, auto at) HWY_ATTR {
          return hn::MulAdd(at.load(row), at.load(dy), lane);
        });
        c.dw_1N.at<float>(0, n) = c.dw_1N.at<float>(0, n) + dot;
      }
    }
  });
}

/// Insertion into the best so far: most candidates lose against the last of them and cost one
/// comparison.
void top_k(std::span<int32_t> index_TK, MatView z_TE, int64_t k) {
  if (k == 0) return;
  for_row_ranges(z_TE.rows, z_TE.cols * 4, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* z = z_TE.row<float>(t);
      int32_t* chosen = index_TK.data() + t * k;
      int64_t n = 0;
      // A number beats a NaN, a larger number a smaller one; ties stay with the lower index, which
      // came first.
      const auto beats = [&](int32_t e, int32_t other) {
        return z[e] > z[other] || (z[other] != z[other] && z[e] == z[e]);
      };
      for (int32_t e = 0; e < z_TE.cols; ++e) {
        if (n == k && !beats(e, chosen[k - 1])) continue;
        int64_t j = n < k ? n++ : k - 1;
        for (; j > 0 && beats(e, chosen[j - 1]); --j) chosen[j] = chosen[j - 1];
        chosen[j] = e;
      }
      for (; n < k; ++n) chosen[n] = -1;
    }
  });
}

void install(Kernels& k) {
  k.gather_rows = gather_rows;
  k.scatter_add_rows = scatter_add_rows;
  k.combine_fwd = combine_fwd;
  k.combine_bwd = combine_bwd;
  k.top_k = top_k;
}

}  // namespace
}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET

#if HWY_ONCE
namespace moe {
MOE_DEFINE_CPU_INSTALL(cpu_install_rows, install)
}  // namespace moe
#endif
