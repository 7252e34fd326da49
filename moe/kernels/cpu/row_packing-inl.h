// SPDX-License-Identifier: MIT
// How rows are laid out for the tiles of a product (panel_gemm-inl.h), for one Highway target: the
// tiles' sizes, rows packed by tiles, transposes.
#if defined(MOE_KERNELS_CPU_ROW_PACKING_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MOE_KERNELS_CPU_ROW_PACKING_INL_H_
#undef MOE_KERNELS_CPU_ROW_PACKING_INL_H_
#else
#define MOE_KERNELS_CPU_ROW_PACKING_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "moe/kernels/cpu/lanes-inl.h"

#include "hwy/highway.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3
constexpr int kTileRows = 14, kTilePanels = 2;
constexpr int kOuterRows = 8, kOuterPanels = 3;
constexpr int kAccumulators = 24, kVectorRegisters = 32;
#else
constexpr int kTileRows = 6, kTilePanels = 1;
constexpr int kOuterRows = 6, kOuterPanels = 1;
constexpr int kAccumulators = HWY_TARGET == HWY_AVX2 ? 12 : 24,
              kVectorRegisters = HWY_TARGET == HWY_AVX2 ? 16 : 32;
#endif

/// Rows of an activation, as they lie or gathered.
struct Rows {
  const float* data;
  int64_t stride;
  const int32_t* gather = nullptr;
  HWY_INLINE const float* operator[](int64_t r) const {
    return data + (gather ? gather[r] : r) * stride;
  }
};

// ---- transposes
// -----------------------------------------------------------------------------------------------------

/// Vector made of the 4-float pieces piece(first), piece(first + 4), piece(first + 8) ...
template <class D, class Piece>
HWY_INLINE hn::Vec<D> load_pieces(D d, const Piece& piece, int64_t first) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    return hn::LoadU(d, piece(first));
  } else {
    const hn::Half<D> half;
    return hn::Combine(d, load_pieces(half, piece, first + int64_t(hn::MaxLanes(half))),
                       load_pieces(half, piece, first));
  }
}

/// Calls store(j, column j) for four columns of kLanes rows; row(i) points to the four elements of
/// row i.
template <class Row, class Store>
HWY_INLINE void transpose_four_columns(const Row& row, const Store& store) {
  const F32 d;
  const hn::Repartition<double, F32> d64;
  const F32Vec r0 = load_pieces(d, row, 0), r1 = load_pieces(d, row, 1);
  const F32Vec r2 = load_pieces(d, row, 2), r3 = load_pieces(d, row, 3);
  const auto low01 = hn::BitCast(d64, hn::InterleaveLower(d, r0, r1));
  const auto low23 = hn::BitCast(d64, hn::InterleaveLower(d, r2, r3));
  const auto high01 = hn::BitCast(d64, hn::InterleaveUpper(d, r0, r1));
  const auto high23 = hn::BitCast(d64, hn::InterleaveUpper(d, r2, r3));
  store(0, hn::BitCast(d, hn::InterleaveLower(d64, low01, low23)));
  store(1, hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23)));
  store(2, hn::BitCast(d, hn::InterleaveLower(d64, high01, high23)));
  store(3, hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23)));
}

/// to[16][16] = transpose of from[16][16].
HWY_INLINE void transpose_16x16(const float* from, float* to) {
  for (int64_t row = 0; row < 16; row += kLanes)
#pragma GCC unroll 4
    for (int64_t col = 0; col < 16; col += 4)
      transpose_four_columns([&](int64_t i) HWY_ATTR { return from + (row + i) * 16 + col; },
                             [&](int64_t j, F32Vec v)
                                 HWY_ATTR { hn::StoreU(v, F32(), to + (col + j) * 16 + row); });
}

// ---- packed rows
// ----------------------------------------------------------------------------------------------------

/// Rows [begin, end) in tiles of equal height, at most kTileRows.
struct RowTiles {
  int64_t begin, end;
  HWY_INLINE int64_t count() const { return (end - begin + kTileRows - 1) / kTileRows; }
  HWY_INLINE int64_t start(int64_t t) const { return begin + (end - begin) * t / count(); }
};

/// Floats from one column of a packed tile to the next. A whole register of AVX-512, so that no
/// load or store crosses a cache line.
constexpr int64_t kTilePitch = HWY_TARGET == HWY_AVX3 ? kLanes : kTileRows;

/// Room for tiles of at most n rows, K columns; equal tiles of fewer rows are as many.
HWY_INLINE int64_t packed_floats(int64_t n, int64_t K) {
  return (n + kTileRows - 1) / kTileRows * kTilePitch * K + kLanes;
}

/// Columns [0, K) of the rows [r, r + rows) of a, a tile, as packed[K][kTilePitch]; may write
/// kLanes floats after those.
inline HWY_NOINLINE void pack_tile(const Rows& a, int64_t r, int64_t rows, int64_t K,
                                   float* packed) {
  constexpr int64_t kRows = std::max(kLanes, kTilePitch);
  const float* row[kRows];
  for (int64_t i = 0; i < kRows; ++i) row[i] = a[r + std::min(i, rows - 1)];
  int64_t k = 0;
  // Each column is stored as a whole vector, and the next one begins where its rows end.
  if constexpr (kLanes >= kTilePitch)
    for (; k + 4 <= K; k += 4)
      transpose_four_columns([&](int64_t i) HWY_ATTR { return row[i] + k; },
                             [&](int64_t j, F32Vec v)
                                 HWY_ATTR { hn::StoreU(v, F32(), packed + (k + j) * kTilePitch); });
  for (; k < K; ++k)
    for (int64_t i = 0; i < rows; ++i) packed[k * kTilePitch + i] = row[i][k];
}

/// Columns [k0, k1) of rows [r, r + n) of x as packed[(k - k0) / kOuterRows][row][kOuterRows].
HWY_INLINE void pack_columns(const Rows& x, int64_t r, int64_t n, int64_t k0, int64_t k1,
                             float* packed) {
  for (int64_t i = 0; i < n; ++i) {
    const float *from = x[r + i], *ahead = x[r + std::min(i + 3, n - 1)];
    for (int64_t k = k0; k < k1; k += kOuterRows) {
      const int64_t width = std::min<int64_t>(kOuterRows, k1 - k);
      __builtin_prefetch(ahead + k);
      float* to = packed + (k - k0) * n + i * width;
      if (width == kOuterRows)
        std::memcpy(to, from + k, kOuterRows * sizeof(float));
      else
        for (int64_t j = 0; j < width; ++j) to[j] = from[k + j];
    }
  }
}

}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET

#endif  // MOE_KERNELS_CPU_ROW_PACKING_INL_H_
