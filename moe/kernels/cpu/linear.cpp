// SPDX-License-Identifier: MIT
// Linear maps on panel weights: grouped products, bias gradients, embeddings. Threads split
// outputs: the longer of the rows and the columns of an expert's output.
// clang-format off: foreach_target.h includes this file again, so it comes first
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moe/kernels/cpu/linear.cpp"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#include "hwy/foreach_target.h"
// clang-format on
#include "moe/kernels/cpu/expert_pieces.h"
#include "moe/kernels/cpu/frame.h"
#include "moe/kernels/cpu/panel_gemm-inl.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {
namespace {

// Pieces start at whole tiles of either kind, and of 16 columns.
constexpr int64_t kGrain = 48;

void grouped_gemm(const GroupedGemm& g) {
  const PanelMap& map = g.w.map;
  const auto split_rows = [&](int64_t rows) { return rows >= map.stored_rows(); };
  const auto rows_of = [&](int64_t e) {
    return int64_t(g.offsets_E1[size_t(e) + 1]) - g.offsets_E1[size_t(e)];
  };
  const auto extent = [&](int64_t e) {
    return split_rows(rows_of(e)) ? rows_of(e) : map.stored_rows();
  };
  for_expert_pieces(
      g.offsets_E1, g.w.experts, map.stored_numel(), kGrain, extent,
      [&](int64_t e, int64_t begin, int64_t end) {
        const int64_t first = g.offsets_E1[size_t(e)], n = rows_of(e);
        const Rows x{static_cast<const float*>(g.x.data) + (g.gather_R ? 0 : first * g.x.stride),
                     g.x.stride, g.gather_R ? g.gather_R + first : nullptr};
        const PanelProduct product{.K = map.cols,
                                   .a = x,
                                   .b = g.w.expert<float>(e),
                                   .panel_stride = map.cols * 16,
                                   .out = g.y.row<float>(first),
                                   .out_stride = g.y.stride,
                                   .cols = map.out_cols(),
                                   .bias = g.bias_EN ? g.bias_EN.row<float>(e) : nullptr};
        if (split_rows(n))
          multiply(product, begin, end, 0, map.panels());
        else
          multiply(product, 0, n, begin / 16, end / 16);
      });
}

void grouped_gemm_dx(const GroupedGemm& g) {
  const PanelMap& map = g.w.map;
  const PanelMap::Ranges valid = map.valid_ranges();
  const auto split_rows = [&](int64_t rows) { return rows >= map.cols; };
  const auto rows_of = [&](int64_t e) {
    return int64_t(g.offsets_E1[size_t(e) + 1]) - g.offsets_E1[size_t(e)];
  };
  const auto extent = [&](int64_t e) { return split_rows(rows_of(e)) ? rows_of(e) : map.cols; };
  for_expert_pieces(g.offsets_E1, g.w.experts, map.stored_numel(), kGrain, extent,
                    [&](int64_t e, int64_t begin, int64_t end) {
                      const int64_t first = g.offsets_E1[size_t(e)], n = rows_of(e);
                      const bool by_rows = split_rows(n);
                      for (int i = 0; i < valid.count; ++i)
                        multiply_transposed(g.w.expert<float>(e), map.cols,
                                            valid.range[size_t(i)][0], valid.range[size_t(i)][1],
                                            {g.y.row<float>(first), g.y.stride},
                                            g.x.row<float>(first), g.x.stride, by_rows ? begin : 0,
                                            by_rows ? end : n, by_rows ? 0 : begin,
                                            by_rows ? map.cols : end, g.accumulate || i > 0);
                    });
}

void grouped_gemm_dw(const GroupedGemm& g) {
  const PanelMap& map = g.w.map;
  const PanelMap::Ranges valid = map.valid_ranges();
  const bool split_weight_rows = map.stored_rows() >= map.cols;
  // What no chain reaches: pads, and experts without rows.
  const bool pads = map.half() % 16 != 0, accumulate = g.accumulate || pads;
  if (!g.accumulate)
    parallel_for(g.w.experts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t e = begin; e < end; ++e)
        if (pads || g.offsets_E1[size_t(e)] == g.offsets_E1[size_t(e) + 1])
          std::memset(g.w.expert<float>(e), 0, size_t(map.stored_numel()) * sizeof(float));
    });
  const auto extent = [&](int64_t) { return split_weight_rows ? map.stored_rows() : map.cols; };
  for_expert_pieces(
      g.offsets_E1, g.w.experts, map.stored_numel(), kGrain, extent,
      [&](int64_t e, int64_t begin, int64_t end) {
        const Rows x{static_cast<const float*>(g.x.data), g.x.stride, g.gather_R};
        const Rows dy{static_cast<const float*>(g.y.data), g.y.stride};
        for (int i = 0; i < valid.count; ++i) {
          const auto [s0, s1] = valid.range[size_t(i)];
          const int64_t r0 = g.offsets_E1[size_t(e)], r1 = g.offsets_E1[size_t(e) + 1];
          if (split_weight_rows)
            outer_product(g.w.expert<float>(e), map.cols, dy, x, r0, r1, std::max(s0, begin),
                          std::min(s1, end), 0, map.cols, accumulate);
          else
            outer_product(g.w.expert<float>(e), map.cols, dy, x, r0, r1, s0, s1, begin, end,
                          accumulate);
        }
      });
}

void bias_bwd(MatView db_EN, MatView dy_RN, std::span<const int32_t> offsets_E1) {
  for_column_ranges(db_EN.cols, dy_RN.rows, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t e = 0; e < db_EN.rows; ++e) {
      const int64_t first = offsets_E1[size_t(e)];
      column_chains(db_EN.row<float>(e), begin, end, offsets_E1[size_t(e) + 1] - first,
                    [&](F32Vec sum, int64_t r, auto at)
                        HWY_ATTR { return hn::Add(sum, at.load(dy_RN.row<float>(first + r))); });
    }
  });
}

// A table row's elements lie 16 apart, each in its own cache line: scalar moves, by columns, so
// that no two threads meet in a row.

void embedding_fwd(MatView y_TD, PanelView w_VD, std::span<const int32_t> ids_T) {
  for_row_ranges(int64_t(ids_T.size()), w_VD.map.cols, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* row = w_VD.expert<float>(0) + w_VD.map.offset(ids_T[size_t(t)], 0);
      float* y = y_TD.row<float>(t);
      for (int64_t d = 0; d < w_VD.map.cols; ++d) y[d] = row[d * 16];
    }
  });
}

void embedding_bwd(PanelView dw_VD, MatView dy_TD, std::span<const int32_t> ids_T) {
  for_column_ranges(dw_VD.map.cols, int64_t(ids_T.size()), [&](int64_t begin, int64_t end) {
    for (size_t t = 0; t < ids_T.size(); ++t) {
      float* row = dw_VD.expert<float>(0) + dw_VD.map.offset(ids_T[t], 0);
      const float* dy = dy_TD.row<float>(int64_t(t));
      for (int64_t d = begin; d < end; ++d) row[d * 16] = row[d * 16] + dy[d];
    }
  });
}

void install(Kernels& k) {
  k.grouped_gemm = grouped_gemm;
  k.grouped_gemm_dx = grouped_gemm_dx;
  k.grouped_gemm_dw = grouped_gemm_dw;
  k.bias_bwd = bias_bwd;
  k.embedding_fwd = embedding_fwd;
  k.embedding_bwd = embedding_bwd;
}

}  // namespace
}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET

#if HWY_ONCE
namespace moe {
MOE_DEFINE_CPU_INSTALL(cpu_install_linear, install)
}  // namespace moe
#endif
