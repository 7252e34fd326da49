// SPDX-License-Identifier: MIT
// Attention's arithmetic, once per target: register tiles of FMA chains, ragged contraction that
// skips what is masked, and the way from a dot product to a score. Included once per target (the
// file toggles its guard).
#if defined(MOE_KERNELS_CPU_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MOE_KERNELS_CPU_ATTENTION_INL_H_
#undef MOE_KERNELS_CPU_ATTENTION_INL_H_
#else
#define MOE_KERNELS_CPU_ATTENTION_INL_H_
#endif

#include <type_traits>

#include "moe/kernels/cpu/attention.h"
#include "moe/kernels/cpu/lanes-inl.h"
#include "moe/kernels/cpu/math-inl.h"

#include "hwy/highway.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
#undef MOE_UNROLL
#define MOE_UNROLL _Pragma("GCC unroll 8")
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {

// The other two parts of the table's attention: attention_bwd.cpp, attention_kv_store.cpp.
void attention_bwd(const AttentionBackward& b);
void kv_store(const KvStore& st);

namespace {

constexpr int kKeys = int(kKvBlock);
// Rows of a register tile: 6 x 64 (AVX-512: 24 of 32 registers), 6 x 16 (AVX2: 12 of 16; NEON: 24
// of 32).
constexpr int kTileRows = 6;

HWY_INLINE F32Vec load(const float* p) { return hn::LoadU(F32(), p); }
HWY_INLINE void save(F32Vec v, float* p) { hn::StoreU(v, F32(), p); }
HWY_INLINE F32Vec broadcast(float x) { return hn::Set(F32(), x); }
HWY_INLINE F32Vec minus_inf() { return broadcast(-std::numeric_limits<float>::infinity()); }
/// The larger one; a NaN on the left never wins (hn::Max leaves that to the target).
HWY_INLINE F32Vec larger(F32Vec x, F32Vec m) { return hn::IfThenElse(hn::Gt(x, m), x, m); }

// ---- The only matrix arithmetic: C[i][.] = C[i][.] + sum_k a(i, k) B[k][.], one chain per
// element, k ascending ---------------- a(i, k) = kTransposed ? a[k * lda + i] : a[i * lda + k].
// Cutting a chain (store, load, go on) keeps its bits; splitting would not.

template <int M, int NV, bool kTransposed>
HWY_NOINLINE void tile(int n, const float* a, int64_t lda, const float* b, int64_t ldb, float* c,
                       int64_t ldc, bool zero) {
  F32Vec sum[M][NV * kLaneVectors];
  const float* row[M];
  MOE_UNROLL for (int i = 0; i < M; ++i) {
    row[i] = kTransposed ? a + i : a + i * lda;
    MOE_UNROLL for (int j = 0; j < NV * kLaneVectors; ++j) sum[i][j] =
        zero ? hn::Zero(F32()) : load(c + i * ldc + j * kLanes);
  }
  for (int k = 0; k < n; ++k) {
    F32Vec operand[NV * kLaneVectors];
    MOE_UNROLL for (int j = 0; j < NV * kLaneVectors; ++j) operand[j] =
        load(b + k * ldb + j * kLanes);
    MOE_UNROLL for (int i = 0; i < M; ++i) {
      const F32Vec x = broadcast(kTransposed ? a[k * lda + i] : row[i][k]);
      MOE_UNROLL for (int j = 0; j < NV * kLaneVectors; ++j) sum[i][j] =
          hn::MulAdd(x, operand[j], sum[i][j]);
    }
  }
  MOE_UNROLL for (int i = 0; i < M; ++i) MOE_UNROLL for (int j = 0; j < NV * kLaneVectors; ++j)
      save(sum[i][j], c + i * ldc + j * kLanes);
}

// m <= kTileRows rows, cols a multiple of 16. Few rows take wider tiles, so that eight chains hide
// the latency of an FMA.
template <bool kTransposed, int M = kTileRows>
void chain(int m, int n, const float* a, int64_t lda, const float* b, int64_t ldb, float* c,
           int64_t ldc, int cols, bool zero) {
  if (m == M) {
    constexpr int kWide = kLanes == 16 || M == 1 ? 4 : M <= 3 ? 2 : 1;
    int j = 0;
    for (; j + 16 * kWide <= cols; j += 16 * kWide)
      tile<M, kWide, kTransposed>(n, a, lda, b + j, ldb, c + j, ldc, zero);
    if constexpr (kWide > 2)
      for (; j + 32 <= cols; j += 32)
        tile<M, 2, kTransposed>(n, a, lda, b + j, ldb, c + j, ldc, zero);
    if constexpr (kWide > 1)
      for (; j < cols; j += 16) tile<M, 1, kTransposed>(n, a, lda, b + j, ldb, c + j, ldc, zero);
  } else if constexpr (M > 1) {
    chain<kTransposed, M - 1>(m, n, a, lda, b, ldb, c, ldc, cols, zero);
  }
}

/// How many of the `rows` left the next register tile takes: tiles of equal height instead of a
/// thin last one.
HWY_INLINE int tile_height(int rows) {
  const int tiles = (rows + kTileRows - 1) / kTileRows;
  return (rows + tiles - 1) / tiles;
}

/// C[i][.] += sum over k in [begin[i], end[i]) of a(i, k) B[k][.]: what is masked never enters
/// arithmetic (a zero probability would turn -0 into +0 and meet NaN in slots not yet written).
/// Common middle as tiles, ragged ends row by row; k still ascends.
template <bool kTransposed>
void ragged_chain(int m, const int* begin, const int* end, const float* a, int64_t lda,
                  const float* b, int64_t ldb, float* c, int64_t ldc, int cols) {
  auto part = [&](int i, int rows, int from, int to) HWY_ATTR {
    if (from < to)
      chain<kTransposed>(rows, to - from, a + (kTransposed ? from * lda + i : i * lda + from), lda,
                         b + from * ldb, ldb, c + i * ldc, ldc, cols, false);
  };
  for (int i = 0, rows; i < m; i += rows) {
    rows = tile_height(m - i);
    const int from = *std::max_element(begin + i, begin + i + rows),
              to = *std::min_element(end + i, end + i + rows);
    for (int r = i; r < i + rows; ++r) part(r, 1, begin[r], from < to ? from : end[r]);
    if (from >= to) continue;
    part(i, rows, from, to);
    for (int r = i; r < i + rows; ++r) part(r, 1, to, end[r]);
  }
}

/// dots[i][key] = chain over a of x[i][a] y[a][key], for the groups of 16 of a block's keys that
/// some row of a register tile sees. begin and end do not fall with i. Entries that row i does not
/// see hold anything.
inline void block_dots(int m, const int* begin, const int* end, int depth, const float* x,
                       int64_t ldx, const float* y, float* dots) {
  for (int i = 0, rows; i < m; i += rows) {
    rows = tile_height(m - i);
    const int from = begin[i] & ~15, to = (end[i + rows - 1] + 15) & ~15;
    if (from < to)
      chain<false>(rows, depth, x + i * ldx, ldx, y + from, kKeys, dots + i * kKeys + from, kKeys,
                   to - from, true);
  }
}

/// to[j][i] = from[i][j] for i < rows, j < cols; nothing else is read or written.
inline void transpose(const float* from, int64_t ld_from, float* to, int64_t ld_to, int rows,
                      int cols) {
  const hn::CappedTag<float, 4> d;
  const hn::CappedTag<double, 2> dd;
  const int rows4 = rows & ~3, cols4 = cols & ~3;
  for (int i = 0; i < rows4; i += 4)
    for (int j = 0; j < cols4; j += 4) {
      const float* s = from + i * ld_from + j;
      const auto r0 = hn::LoadU(d, s), r1 = hn::LoadU(d, s + ld_from);
      const auto r2 = hn::LoadU(d, s + 2 * ld_from), r3 = hn::LoadU(d, s + 3 * ld_from);
      const auto a = hn::BitCast(dd, hn::InterleaveLower(d, r0, r1)),
                 b = hn::BitCast(dd, hn::InterleaveLower(d, r2, r3));
      const auto e = hn::BitCast(dd, hn::InterleaveUpper(d, r0, r1)),
                 f = hn::BitCast(dd, hn::InterleaveUpper(d, r2, r3));
      float* o = to + j * ld_to + i;
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(dd, a, b)), d, o);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(dd, a, b)), d, o + ld_to);
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(dd, e, f)), d, o + 2 * ld_to);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(dd, e, f)), d, o + 3 * ld_to);
    }
  for (int i = 0; i < rows; ++i)
    for (int j = i < rows4 ? cols4 : 0; j < cols; ++j) to[j * ld_to + i] = from[i * ld_from + j];
}

// ---- From a dot product to a score
// ----------------------------------------------------------------------------------------------

/// One attention call's numbers in float32, for one query head.
struct ScoreMap {
  float scale, softcap, slope;
  bool alibi;
  const T5BiasRows* t5;  // null: no such bias
  int64_t head;

  ScoreMap(const AttentionConfig& c, const T5BiasRows& t5_rows, int64_t h)
      : scale(float(c.scale)),
        softcap(float(c.softcap)),
        slope(c.alibi_slopes_H ? c.alibi_slopes_H.at<float>(0, h) : 0.0f),
        alibi(bool(c.alibi_slopes_H)),
        t5(c.t5_table_UH ? &t5_rows : nullptr),
        head(h) {}
};

/// Scores of kLanes keys, the first at distance key_minus_query. kCap and kBias are template
/// arguments: the plain case pays nothing.
template <bool kCap, bool kBias>
HWY_INLINE F32Vec score(const ScoreMap& map, F32Vec dot, int64_t key_minus_query,
                        F32Vec& tanh_value) {
  const F32 d;
  F32Vec x = hn::Mul(dot, broadcast(map.scale));
  if constexpr (kCap) {
    tanh_value = Tanh(d, hn::Div(x, broadcast(map.softcap)));
    x = hn::Mul(tanh_value, broadcast(map.softcap));
  }
  if constexpr (kBias) {
    if (map.alibi) {
      const auto distance =
          hn::ConvertTo(d, hn::Iota(hn::RebindToSigned<F32>(), int32_t(key_minus_query)));
      x = hn::Add(x, hn::Mul(broadcast(map.slope), distance));
    }
    if (map.t5) x = hn::Add(x, load(map.t5->at(map.head, key_minus_query)));
  }
  return x;
}

/// Calls f with the two compile-time switches of `score` that a configuration needs.
template <class F>
void with_score_kind(const AttentionConfig& c, F f) {
  const bool cap = c.softcap > 0, bias = c.alibi_slopes_H || c.t5_table_UH;
  if (cap && bias) return f(std::true_type(), std::true_type());
  if (cap) return f(std::true_type(), std::false_type());
  if (bias) return f(std::false_type(), std::true_type());
  f(std::false_type(), std::false_type());
}

}  // namespace
}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET
#endif  // guard
