// SPDX-License-Identifier: MIT
// One tile of a product (panel_gemm-inl.h), for one Highway target: its operands, where it lands,
// the chains of multiply-adds, and what is fetched meanwhile.
#if defined(MOE_KERNELS_CPU_PANEL_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MOE_KERNELS_CPU_PANEL_TILE_INL_H_
#undef MOE_KERNELS_CPU_PANEL_TILE_INL_H_
#else
#define MOE_KERNELS_CPU_PANEL_TILE_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "moe/kernels/cpu/lanes-inl.h"
#include "moe/kernels/cpu/row_packing-inl.h"

#include "hwy/highway.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {

// Broadcast operand: at(i, k) is row i of the tile at contraction index k.
template <int M>
struct RowPointers {
  static constexpr bool kPacked = false;
  const float* row[M];
  HWY_INLINE const float& at(int i, int64_t k) const { return row[i][k]; }
};
template <int64_t kPitch>
struct PackedRows {
  static constexpr bool kPacked = true;
  const float* data;
  HWY_INLINE const float& at(int i, int64_t k) const { return data[k * kPitch + i]; }
};

/// Vector operand: 16 columns of panel j at contraction index k.
struct PanelOperand {
  const float* data;
  int64_t stride;
  HWY_INLINE const float* at(int j, int64_t k) const { return data + j * stride + k * 16; }
};
template <int NP>
struct StripOperand {
  const float* data;
  HWY_INLINE const float* at(int j, int64_t k) const { return data + (k * NP + j) * 16; }
};

/// Where a tile lands: element (i, 16 j + lane) is data[i * row_stride + j * panel_stride + lane].
struct TileOutput {
  float* data;
  int64_t row_stride, panel_stride;
  int64_t cols = 16;            // of a panel; fewer only in tiles of one panel
  bool accumulate = false;      // the chains go on from what the output holds
  const float* bias = nullptr;  // for each column, added to the finished chain
};

/// Cache lines of rows that lie anywhere; lines are counted from row first_row on.
struct Lines {
  Rows rows{};
  int64_t per_row = 1, first_row = 0, count = 0;
};

/// Lines to fetch while a tile is computed, a few at a time: a burst of them would keep the tile's
/// own loads waiting for a fill buffer.
class Ahead {
 public:
  /// Lines [begin, end) of `lines`, or as many of them as there is room for.
  HWY_INLINE void add(const Lines& lines, int64_t begin, int64_t end) {
    end = std::min(end, begin + kMost - count_);
    if (begin >= end) return;
    int64_t row = begin / lines.per_row, skipped = begin - row * lines.per_row;
    for (int64_t left = end - begin; left > 0; ++row, skipped = 0) {
      const float* at = lines.rows[lines.first_row + row] + skipped * 16;
      const int64_t n = std::min(left, lines.per_row - skipped);
      for (int64_t i = 0; i < n; ++i) line_[count_ + i] = at + i * 16;
      count_ += n;
      left -= n;
    }
  }
  HWY_INLINE int64_t count() const { return count_; }
  HWY_INLINE void fetch(int64_t begin, int64_t end) const {
    for (int64_t i = begin; i < end; ++i) __builtin_prefetch(line_[i], 0, 2);
  }

 private:
  static constexpr int64_t kMost = 512;
  const float* line_[kMost];
  int64_t count_ = 0;
};

/// x w + c where x is broadcast from memory by the multiply-add itself: one instruction to issue,
/// but a load of its own for each vector w.
HWY_INLINE F32Vec multiply_add_broadcast(const float& x, F32Vec w, F32Vec c) {
#if HWY_TARGET == HWY_AVX3
  asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(c.raw) : "v"(w.raw), "m"(x));
  return c;
#else
  return hn::MulAdd(hn::Set(F32(), x), w, c);
#endif
}

template <int M, int NP, class A, class B>
inline HWY_NOINLINE void tile(int64_t K, const A& a, const B& b, const TileOutput& out,
                              const Ahead* ahead = nullptr) {
  constexpr int N = NP * int(kLaneVectors);
  const F32 d;
  F32Vec c[M][N];
  // Two threads of a core share the instructions that it can issue: two rows of three are broadcast
  // by their multiply-adds, as many as the two load ports can serve.
  constexpr bool kMixed = HWY_TARGET == HWY_AVX3 && A::kPacked && NP > 1;
  const bool partial = NP == 1 && out.cols < 16;
  if (!out.accumulate) {
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i)
#pragma GCC unroll 32
      for (int j = 0; j < N; ++j) c[i][j] = hn::Zero(d);
  } else if (partial) {
    HWY_ALIGN float row[16] = {};
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
      std::memcpy(row, out.data + i * out.row_stride, size_t(out.cols) * sizeof(float));
#pragma GCC unroll 32
      for (int j = 0; j < N; ++j) c[i][j] = hn::Load(d, row + j % kLaneVectors * kLanes);
    }
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i)
#pragma GCC unroll 32
      for (int j = 0; j < N; ++j)
        c[i][j] = hn::LoadU(d, out.data + i * out.row_stride + j / kLaneVectors * out.panel_stride +
                                   j % kLaneVectors * kLanes);
  }

  // The only arithmetic. Two steps per visit of a row where registers allow it: more row pointers
  // than registers, so each is reloaded half as often. Two visits per turn of the loop: a core that
  // another tenant's thread shares is bound by the instructions it may issue.
  const auto step = [&](int64_t k, auto steps) HWY_ATTR __attribute__((always_inline)) {
    constexpr int U = steps;
    F32Vec w[U][N];
#pragma GCC unroll 2
    for (int s = 0; s < U; ++s)
#pragma GCC unroll 32
      for (int j = 0; j < N; ++j)
        w[s][j] = hn::LoadU(d, b.at(j / kLaneVectors, k + s) + j % kLaneVectors * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i)
#pragma GCC unroll 2
      for (int s = 0; s < U; ++s) {
        if (kMixed && i % 3 < 2) {
#pragma GCC unroll 32
          for (int j = 0; j < N; ++j)
            c[i][j] = multiply_add_broadcast(a.at(i, k + s), w[s][j], c[i][j]);
          continue;
        }
        const F32Vec x = hn::Set(d, a.at(i, k + s));
#pragma GCC unroll 32
        for (int j = 0; j < N; ++j) c[i][j] = hn::MulAdd(x, w[s][j], c[i][j]);
      }
  };
  constexpr int kSteps = N * (M + 2) < kVectorRegisters ? 2 : 1;
  int64_t k = 0;
  const auto run = [&](int64_t end) HWY_ATTR __attribute__((always_inline)) {
    for (; k + 2 * kSteps <= end; k += 2 * kSteps) {
      step(k, std::integral_constant<int, kSteps>());
      step(k + kSteps, std::integral_constant<int, kSteps>());
    }
  };
  constexpr int64_t kPiece = 32;
  if (ahead && K >= kPiece) {
    const int64_t n = ahead->count(), pieces = K / kPiece, of_piece = (n + pieces - 1) / pieces;
    for (int64_t i = 0; i < n; i += of_piece) {
      ahead->fetch(i, std::min(n, i + of_piece));
      run(k + kPiece);
    }
  }
  run(K);
  for (; k + kSteps <= K; k += kSteps) step(k, std::integral_constant<int, kSteps>());
  for (; k < K; ++k) step(k, std::integral_constant<int, 1>());

  if (partial) {
    HWY_ALIGN float row[16], bias[16] = {};
    if (out.bias) std::memcpy(bias, out.bias, size_t(out.cols) * sizeof(float));
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
#pragma GCC unroll 32
      for (int j = 0; j < int(kLaneVectors); ++j)
        hn::Store(out.bias ? hn::Add(c[i][j], hn::Load(d, bias + j * kLanes)) : c[i][j], d,
                  row + j * kLanes);
      std::memcpy(out.data + i * out.row_stride, row, size_t(out.cols) * sizeof(float));
    }
    return;
  }
  if (out.bias) {
#pragma GCC unroll 32
    for (int j = 0; j < N; ++j) {
      const F32Vec bias = hn::LoadU(d, out.bias + j * kLanes);
#pragma GCC unroll 16
      for (int i = 0; i < M; ++i) c[i][j] = hn::Add(c[i][j], bias);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i)
#pragma GCC unroll 32
    for (int j = 0; j < N; ++j)
      hn::StoreU(c[i][j], d,
                 out.data + i * out.row_stride + j / kLaneVectors * out.panel_stride +
                     j % kLaneVectors * kLanes);
}

/// f(std::integral_constant<int, n>) for a run-time n in 1..kMax.
template <int kMax, class F>
HWY_INLINE void with_constant(int64_t n, F&& f) {
  if constexpr (kMax > 1)
    if (n < kMax) return with_constant<kMax - 1>(n, f);
  f(std::integral_constant<int, kMax>());
}

}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET

#endif  // MOE_KERNELS_CPU_PANEL_TILE_INL_H_
