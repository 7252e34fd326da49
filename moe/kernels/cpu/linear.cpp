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

// Pieces start at whole strips of a gradient's columns, and of 16.
constexpr int64_t kGrain = 48;

// Rows of a block of products that share their output rows: a block of 128 columns stays in L2
// until it is added.
constexpr int64_t kSharedRows = 256;

// y[scatter_R[r]] = fma(weight_R1[r], x W^T + bias, y[scatter_R[r]]), by blocks of rows in scratch.
void grouped_gemm_weighted_sum(const GroupedGemm& g) {
  const PanelMap& map = g.w.map;
  for_shared_row_pieces(
      g.offsets_E1, g.w.experts, g.scatter_R, g.y.rows, map.out_cols(),
      g.offsets_E1.back() * map.stored_numel(),
      [&](int64_t e, int64_t r0, int64_t r1, int64_t c0, int64_t c1) HWY_ATTR {
        const int64_t stride = (c1 - c0 + 15) / 16 * 16;
        float* block = thread_scratch<1>(std::min(kSharedRows, r1 - r0) * stride);
        for (int64_t first = r0; first < r1; first += kSharedRows) {
          const int64_t n = std::min(kSharedRows, r1 - first);
          const int64_t x_row = g.gather_R ? 0 : first;
          multiply({.K = map.cols,
                    .a = {static_cast<const float*>(g.x.data) + x_row * g.x.stride, g.x.stride,
                          g.gather_R ? g.gather_R + first : nullptr},
                    .b = g.w.expert<float>(e) + c0 * map.cols,
                    .panel_stride = map.cols * 16,
                    .out = block,
                    .out_stride = stride,
                    .cols = c1 - c0,
                    .bias = g.bias_EN ? g.bias_EN.row<float>(e) + c0 : nullptr},
                   0, n, 0, (c1 - c0 + 15) / 16);
          for (int64_t i = 0; i < n; ++i) {
            float* y = g.y.row<float>(g.scatter_R[first + i]) + c0;
            const float* product = block + i * stride;
            const F32Vec weight = hn::Set(F32(), g.weight_R1.at<float>(first + i, 0));
            for_each_vector(0, c1 - c0, [&](auto at) HWY_ATTR {
              at.store(hn::MulAdd(weight, at.load(product), at.load(y)), y);
            });
          }
        }
      });
}

void grouped_gemm(const GroupedGemm& g) {
  if (g.scatter_R) return grouped_gemm_weighted_sum(g);
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

// Rows of dy of an expert from row `first` on.
Rows dy_rows(const GroupedGemm& g, int64_t first) {
  return {static_cast<const float*>(g.y.data) + (g.scatter_R ? 0 : first * g.y.stride), g.y.stride,
          g.scatter_R ? g.scatter_R + first : nullptr};
}

// x[gather_R[r]] = x[gather_R[r]] + dy W, by blocks of rows in scratch.
void grouped_gemm_dx_shared(const GroupedGemm& g) {
  const PanelMap& map = g.w.map;
  const PanelMap::Ranges valid = map.valid_ranges();
  for_shared_row_pieces(g.offsets_E1, g.w.experts, g.gather_R, g.x.rows, map.cols,
                        g.offsets_E1.back() * map.stored_numel(),
                        [&](int64_t e, int64_t r0, int64_t r1, int64_t c0, int64_t c1) HWY_ATTR {
                          const int64_t stride = (c1 - c0 + 15) / 16 * 16;
                          float* block = thread_scratch<1>(std::min(kSharedRows, r1 - r0) * stride);
                          for (int64_t first = r0; first < r1; first += kSharedRows) {
                            const int64_t n = std::min(kSharedRows, r1 - first);
                            for (int i = 0; i < valid.count; ++i)
                              multiply_transposed(g.w.expert<float>(e) + c0 * 16, map.cols,
                                                  valid.range[size_t(i)][0],
                                                  valid.range[size_t(i)][1], dy_rows(g, first),
                                                  block, stride, 0, n, 0, c1 - c0, i > 0);
                            for (int64_t i = 0; i < n; ++i) {
                              float* x = g.x.row<float>(g.gather_R[first + i]) + c0;
                              const float* product = block + i * stride;
                              for_each_vector(0, c1 - c0, [&](auto at) HWY_ATTR {
                                at.store(hn::Add(at.load(x), at.load(product)), x);
                              });
                            }
                          }
                        });
}

void grouped_gemm_dx(const GroupedGemm& g) {
  if (g.gather_R) return grouped_gemm_dx_shared(g);
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
                        multiply_transposed(
                            g.w.expert<float>(e), map.cols, valid.range[size_t(i)][0],
                            valid.range[size_t(i)][1], dy_rows(g, first), g.x.row<float>(first),
                            g.x.stride, by_rows ? begin : 0, by_rows ? end : n, by_rows ? 0 : begin,
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
        const Rows dy = dy_rows(g, 0);
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
