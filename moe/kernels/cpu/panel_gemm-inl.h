// SPDX-License-Identifier: MIT
// Products with panel weights, P[n/16][k][16], for one Highway target. Every output element is one
// chain of fused multiply-adds in ascending contraction index; a chain may be stored and go on
// later, but is never split into partial sums. So the shape of a tile, the vector width, row tails
// and the number of threads do not change a bit.
//
//   forward   y  = x W^T    multiply: rows of x are broadcast, panels are the vectors
//   backward  dx += dy W    multiply_transposed: 16x16 transposes make panels of W^T in scratch
//   gradient  dP += dy^T x  outer_product: a tile of dP stays in registers over a block of rows
//
// Rows that meet many panels are packed first, so that a tile reads them from one place in the
// order of use. Sizes: 28 accumulators of AVX-512's 32 registers (14 x 32; 8 x 48 for gradients)
// and 12 of AVX2's 16 (6 x 16) leave room for the operands; cutting the forward contraction gains
// nothing up to 4096.
#if defined(MOE_KERNELS_CPU_PANEL_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MOE_KERNELS_CPU_PANEL_GEMM_INL_H_
#undef MOE_KERNELS_CPU_PANEL_GEMM_INL_H_
#else
#define MOE_KERNELS_CPU_PANEL_GEMM_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "moe/kernels/cpu/lanes-inl.h"
#include "moe/kernels/cpu/panel_tile-inl.h"
#include "moe/kernels/cpu/row_packing-inl.h"
#include "moe/kernels/cpu/scratch.h"

#include "hwy/highway.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {

// ---- y = x W^T
// ------------------------------------------------------------------------------------------------------

/// out[r][n] (+)= chain over K of a[r][k] b[n/16][k][n%16] (+ bias[n]); n counts from the first
/// panel of b.
struct PanelProduct {
  int64_t K;
  Rows a;
  const float* b;
  int64_t panel_stride;
  float* out;
  int64_t out_stride, cols;
  bool accumulate = false;
  const float* bias = nullptr;
};

/// Rows [r, r + M), panels [p, p + NP).
template <int M, int NP, class A>
HWY_INLINE void product_tile(const PanelProduct& g, const A& a, int64_t r, int64_t p,
                             const Ahead* ahead = nullptr) {
  tile<M, NP>(g.K, a, PanelOperand{g.b + p * g.panel_stride, g.panel_stride},
              {.data = g.out + r * g.out_stride + p * 16,
               .row_stride = g.out_stride,
               .panel_stride = 16,
               .cols = g.cols - p * 16,
               .accumulate = g.accumulate,
               .bias = g.bias ? g.bias + p * 16 : nullptr},
              ahead);
}

/// n panels that lie one behind the other, as those of a weight do.
HWY_INLINE Lines panel_lines(const PanelProduct& g, int64_t p, int64_t n) {
  return {.rows = {g.b + p * g.panel_stride, 256}, .per_row = 16, .count = g.K * n};
}

template <int M>
HWY_INLINE RowPointers<M> row_pointers(const Rows& a, int64_t r) {
  RowPointers<M> rows;
  for (int i = 0; i < M; ++i) rows.row[i] = a[r + i];
  return rows;
}

/// All tiles of rows with panels [p, p + NP). `packed`: null, or where the rows of a lie packed, or
/// are packed now, a tile at a time. `next`: what will be read after this.
template <int NP>
HWY_INLINE void sweep_rows(const PanelProduct& g, const RowTiles& tiles, float* packed,
                           bool pack_now, int64_t p, const Lines& next) {
  const int64_t n_tiles = tiles.count();
  const Lines outputs{{g.out + p * 16, g.out_stride}, NP};
  const Lines rows_ahead{g.a, (g.K + 15) / 16};
  for (int64_t t = 0; t < n_tiles; ++t) {
    const int64_t r = tiles.start(t), end = tiles.start(t + 1);
    const int64_t end_next = std::min(tiles.end, end + kTileRows);
    float* packed_tile = packed ? packed + t * kTilePitch * g.K : nullptr;
    if (pack_now) pack_tile(g.a, r, end - r, g.K, packed_tile);
    Ahead ahead;
    ahead.add(outputs, end * NP, end_next * NP);
    if (pack_now) ahead.add(rows_ahead, end * rows_ahead.per_row, end_next * rows_ahead.per_row);
    ahead.add(next, next.count * t / n_tiles, next.count * (t + 1) / n_tiles);
    with_constant<kTileRows>(end - r, [&](auto rows) HWY_ATTR {
      if (packed)
        product_tile<rows, NP>(g, PackedRows<kTilePitch>{packed_tile}, r, p, &ahead);
      else
        product_tile<rows, NP>(g, row_pointers<rows>(g.a, r), r, p, &ahead);
    });
  }
}

/// A few rows are bound by reading the panels: as many panels at a time as there are accumulators,
/// at most 8 streams.
template <int M, int NP>
HWY_INLINE void multiply_few_rows(const PanelProduct& g, int64_t r, int64_t p0, int64_t p1) {
  const int64_t full = std::min(p1, g.cols / 16);
  const RowPointers<M> rows = row_pointers<M>(g.a, r);
  for (; p0 + NP <= full; p0 += NP) product_tile<M, NP>(g, rows, r, p0);
  if constexpr (NP > 1)
    multiply_few_rows<M, NP / 2>(g, r, p0, p1);
  else if (p0 < p1)
    product_tile<M, 1>(g, rows, r, p0);
}

/// Products with fewer panels do not repay packing their rows.
constexpr int64_t kMinPanelsToPack = 6;

/// The rows of a block, packed, stay in L2 while the panels pass by once: at most 256 rows of 512
/// (512 KiB), in whole tiles.
constexpr int64_t kPackedTileFloats = (256 + kTileRows - 1) / kTileRows * kTilePitch * 512;

/// All panels in [p0, p1). `packed`: null, or where the rows of a lie packed, or are packed by the
/// first sweep. `after`: what will be read after this.
inline HWY_NOINLINE void sweep_panels(const PanelProduct& g, const RowTiles& tiles, float* packed,
                                      bool pack_now, int64_t p0, int64_t p1, const Lines& after) {
  const int64_t full = std::min(p1, g.cols / 16);
  for (int64_t p = p0; p < p1;) {
    const int64_t n = p + kTilePanels <= full ? kTilePanels : 1;
    const int64_t n_next = std::min<int64_t>(kTilePanels, p1 - p - n);
    const Lines next = n_next > 0 ? panel_lines(g, p + n, n_next) : after;
    if (n == kTilePanels)
      sweep_rows<kTilePanels>(g, tiles, packed, pack_now, p, next);
    else
      sweep_rows<1>(g, tiles, packed, pack_now, p, next);
    pack_now = false;
    p += n;
  }
}

/// Rows [r0, r1), panels [p0, p1).
inline HWY_NOINLINE void multiply(const PanelProduct& g, int64_t r0, int64_t r1, int64_t p0,
                                  int64_t p1) {
  if (r1 - r0 <= kTileRows) {
    if (r1 > r0)
      with_constant<kTileRows>(r1 - r0, [&](auto rows) HWY_ATTR {
        constexpr int kPanels =
            std::clamp(kAccumulators / (rows * int(kLaneVectors)), kTilePanels, 8);
        multiply_few_rows<rows, kPanels>(g, r0, p0, p1);
      });
    return;
  }
  const int64_t most =
      kTileRows *
      std::max<int64_t>(8, kPackedTileFloats / (std::max<int64_t>(g.K, 1) * kTilePitch));
  const int64_t n_blocks = (r1 - r0 + most - 1) / most;
  const bool pack = p1 - p0 >= kMinPanelsToPack;
  float* packed = pack ? thread_scratch<2>(packed_floats(std::min(most, r1 - r0), g.K)) : nullptr;
  for (int64_t q = 0; q < n_blocks; ++q) {
    const RowTiles tiles{r0 + (r1 - r0) * q / n_blocks, r0 + (r1 - r0) * (q + 1) / n_blocks};
    const Lines again = panel_lines(g, p0, std::min<int64_t>(kTilePanels, p1 - p0));
    sweep_panels(g, tiles, packed, pack, p0, p1, q + 1 < n_blocks ? again : Lines{});
  }
}

// ---- dx += dy W
// -----------------------------------------------------------------------------------------------------

/// dx[r][k] goes on (or starts, without accumulate) over stored rows [s0, s1) of the weight w (s0 a
/// multiple of 16): rows [r0, r1), columns [k0, k1) (k0 a multiple of 16).
inline HWY_NOINLINE void multiply_transposed(const float* w, int64_t K, int64_t s0, int64_t s1,
                                             Rows dy, float* dx, int64_t dx_stride, int64_t r0,
                                             int64_t r1, int64_t k0, int64_t k1, bool accumulate) {
  // 512 stored rows at a time: two transposed panels (64 KiB) and the packed rows of dy (512 KiB)
  // stay in L2; transposing, which costs as much as 10 rows of products, is shared by 256 and more;
  // shorter chunks store and load the chains more often.
  constexpr int64_t kMaxChunk = 512;
  const int64_t stride =
      std::min(kMaxChunk, (s1 - s0 + 15) / 16 * 16) * 16;  // of the transposed panels
  const int64_t most = kTileRows * (kPackedTileFloats * 16 / (stride * kTilePitch));
  const int64_t n_blocks = (r1 - r0 + most - 1) / most;
  const bool pack = r1 - r0 > kTileRows && k1 - k0 >= 16 * kMinPanelsToPack;
  float* panels = thread_scratch(stride * kTilePanels);
  float* packed =
      pack ? thread_scratch<2>(packed_floats(std::min(most, r1 - r0), stride / 16)) : nullptr;
  HWY_ALIGN float edge[256] = {};
  for (int64_t chunk = s0; chunk < s1; chunk += kMaxChunk) {
    const int64_t n = std::min(kMaxChunk, s1 - chunk);
    for (int64_t q = 0; q < n_blocks; ++q) {
      const RowTiles tiles{r0 + (r1 - r0) * q / n_blocks, r0 + (r1 - r0) * (q + 1) / n_blocks};
      const Rows rows{dy.data + chunk, dy.stride, dy.gather};
      for (int64_t k = k0; k < k1; k += 16 * kTilePanels) {
        const int64_t n_panels = std::min<int64_t>(kTilePanels, (k1 - k + 15) / 16);
        for (int64_t s = 0; s < n; s += 16)
          for (int64_t j = 0; j < n_panels; ++j) {
            const float* from = w + (chunk + s) * K + (k + j * 16) * 16;
            const int64_t cols = std::min<int64_t>(16, k1 - k - j * 16);
            if (cols < 16)
              from = static_cast<const float*>(
                  std::memcpy(edge, from, size_t(cols) * 16 * sizeof(float)));
            transpose_16x16(from, panels + j * stride + s * 16);
          }
        const PanelProduct product{.K = n,
                                   .a = rows,
                                   .b = panels,
                                   .panel_stride = stride,
                                   .out = dx + k,
                                   .out_stride = dx_stride,
                                   .cols = k1 - k,
                                   .accumulate = accumulate || chunk > s0};
        if (!pack) {
          multiply(product, tiles.begin, tiles.end, 0, n_panels);
          continue;
        }
        // What will be transposed next: the following columns, or the first ones again.
        const bool last = k + 16 * kTilePanels >= k1;
        const int64_t k_next = last ? k0 : k + 16 * kTilePanels;
        const int64_t s_next = last && tiles.end == r1 ? chunk + n : chunk;
        const int64_t cols_next = std::min<int64_t>(16 * kTilePanels, k1 - k_next);
        const int64_t n_next = std::min(kMaxChunk, s1 - s_next);
        const Lines next{.rows = {w + s_next * K + k_next * 16, K * 16},
                         .per_row = cols_next,
                         .count = cols_next * ((n_next + 15) / 16)};
        sweep_panels(product, tiles, packed, k == k0, 0, n_panels, next);
      }
    }
  }
}

// ---- dP += dy^T x
// ---------------------------------------------------------------------------------------------------

/// The chains of dw[n/16][k][16] go on (or start, without accumulate) over rows [r0, r1), at least
/// one, of dy and x: stored rows [n0, n1) of the weight (all of them real, n0 a multiple of 16),
/// columns [k0, k1).
inline HWY_NOINLINE void outer_product(float* dw, int64_t K, Rows dy, Rows x, int64_t r0,
                                       int64_t r1, int64_t n0, int64_t n1, int64_t k0, int64_t k1,
                                       bool accumulate) {
  // Rows in two sizes of block: 192 rows of a strip of dy (36 KiB) stay in L1 while the tiles of a
  // strip pass; the packed x of several of those (768 KiB) stays in L2, so that the chains, which
  // are stored after each block, leave it once per large block only.
  constexpr int64_t kRowBlock = 192, kPackedFloats = 196608;
  if (n0 >= n1 || k0 >= k1) return;
  const int64_t K1 = k1 - k0, large = std::max(kRowBlock, kPackedFloats / K1);
  const int64_t n_large = (r1 - r0 + large - 1) / large;
  const int64_t most_rows = (r1 - r0 + n_large - 1) / n_large;
  float* strip = thread_scratch(kRowBlock * 16 * kOuterPanels + most_rows * K1);
  float* packed = strip + kRowBlock * 16 * kOuterPanels;
  for (int64_t l = 0; l < n_large; ++l) {
    const int64_t begin = r0 + (r1 - r0) * l / n_large, end = r0 + (r1 - r0) * (l + 1) / n_large;
    const int64_t n_blocks = (end - begin + kRowBlock - 1) / kRowBlock;
    const auto block = [&](int64_t q) { return begin + (end - begin) * q / n_blocks; };
    for (int64_t q = 0; q < n_blocks; ++q)
      pack_columns(x, block(q), block(q + 1) - block(q), k0, k1, packed + (block(q) - begin) * K1);
    const auto do_strip = [&](int64_t n, auto panels) HWY_ATTR {
      constexpr int NP = panels;
      const int64_t cols = std::min<int64_t>(
          16 * NP, n1 - n);  // fewer only in the last panel, which is a strip of its own
      for (int64_t q = 0; q < n_blocks; ++q) {
        const int64_t r = block(q), rows = block(q + 1) - r;
        for (int64_t i = 0; i < rows; ++i) {
          float* to = strip + i * 16 * NP;
          if (cols == 16 * NP) {
            std::memcpy(to, dy[r + i] + n, 16 * NP * sizeof(float));
          } else {
            std::memcpy(to, dy[r + i] + n, size_t(cols) * sizeof(float));
            std::fill(to + cols, to + 16, 0.0f);
          }
        }
        const float* packed_q = packed + (r - begin) * K1;
        // The strip that will be copied next.
        const bool last_block = q + 1 == n_blocks;
        const int64_t n_next = last_block ? n + 16 * NP : n, q_next = last_block ? 0 : q + 1;
        const int64_t panels_next = std::min<int64_t>(NP, (n1 - n_next + 15) / 16);
        Lines next;
        if (panels_next > 0)
          next = {.rows = {dy.data + n_next, dy.stride, dy.gather},
                  .per_row = panels_next,
                  .first_row = block(q_next),
                  .count = panels_next * (block(q_next + 1) - block(q_next))};
        for (int64_t k = k0; k < k1; k += kOuterRows) {
          const int64_t k_next = k + kOuterRows;
          Ahead ahead;
          if (kOuterPanels > 1)  // a narrow strip has about a line for each of its short tiles
            ahead.add(next, next.count * (k - k0) / K1,
                      next.count * std::min(k_next - k0, K1) / K1);
          with_constant<kOuterRows>(
              std::min<int64_t>(kOuterRows, k1 - k), [&](auto width) HWY_ATTR {
                tile<width, NP>(rows, PackedRows<width>{packed_q + (k - k0) * rows},
                                StripOperand<NP>{strip},
                                {.data = dw + n * K + k * 16,
                                 .row_stride = 16,
                                 .panel_stride = K * 16,
                                 .cols = std::min<int64_t>(cols, 16),
                                 .accumulate = accumulate || r > r0},
                                &ahead);
              });
        }
      }
    };
    int64_t n = n0;
    for (; n + 16 * kOuterPanels <= n1; n += 16 * kOuterPanels)
      do_strip(n, std::integral_constant<int, kOuterPanels>());
    for (; n < n1; n += 16) do_strip(n, std::integral_constant<int, 1>());
  }
}

}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET

#endif  // MOE_KERNELS_CPU_PANEL_GEMM_INL_H_
