// SPDX-License-Identifier: MIT
// Row and element loops for one Highway target: whole vectors, then one partial vector that neither
// reads nor writes past its count; and the 16-lane row reduction of the contract
// (docs/NUMERICS.md), whatever the width of a register. A loop's body takes a position, Whole or
// Part, and is compiled once for each.
#if defined(MOE_KERNELS_CPU_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MOE_KERNELS_CPU_LANES_INL_H_
#undef MOE_KERNELS_CPU_LANES_INL_H_
#else
#define MOE_KERNELS_CPU_LANES_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

#include "hwy/highway.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::CappedTag<float, 16>;
using F32Vec = hn::Vec<F32>;
constexpr int64_t kLanes = hn::MaxLanes(F32());  // AVX-512: 16, AVX2: 8, NEON: 4
constexpr int64_t kLaneVectors = 16 / kLanes;    // registers that hold the 16 lanes of a reduction
// AVX-512 needs one, but g++ 12.2 stops with an internal error (esra) at an array of one 512-bit
// vector.
using LaneArray = F32Vec[std::max<int64_t>(2, kLaneVectors)];

/// Elements [i, i + kLanes) of a row.
struct Whole {
  int64_t i;
  HWY_INLINE F32Vec load(const float* row) const { return hn::LoadU(F32(), row + i); }
  HWY_INLINE void store(F32Vec v, float* row) const { hn::StoreU(v, F32(), row + i); }
  HWY_INLINE F32Vec select(F32Vec inside, F32Vec) const { return inside; }
  HWY_INLINE Whole shifted(int64_t by) const { return {i + by}; }
};

/// Elements [i, i + count) of a row, 0 < count < kLanes; loads put 0 into the other lanes.
struct Part {
  int64_t i;
  int64_t count;
  HWY_INLINE F32Vec load(const float* row) const {
#if HWY_MEM_OPS_MIGHT_FAULT  // no masked access to memory (NEON)
    HWY_ALIGN float buffer[kLanes] = {};
    std::memcpy(buffer, row + i, size_t(count) * sizeof(float));
    return hn::Load(F32(), buffer);
#else
    return hn::MaskedLoad(hn::FirstN(F32(), size_t(count)), F32(), row + i);
#endif
  }
  HWY_INLINE void store(F32Vec v, float* row) const {
#if HWY_MEM_OPS_MIGHT_FAULT
    HWY_ALIGN float buffer[kLanes];
    hn::Store(v, F32(), buffer);
    std::memcpy(row + i, buffer, size_t(count) * sizeof(float));
#else
    hn::BlendedStore(v, hn::FirstN(F32(), size_t(count)), F32(), row + i);
#endif
  }
  HWY_INLINE F32Vec select(F32Vec inside, F32Vec outside) const {
    return hn::IfThenElse(hn::FirstN(F32(), size_t(count)), inside, outside);
  }
  HWY_INLINE Part shifted(int64_t by) const { return {i + by, count}; }
};

/// f(position) over elements [begin, end), ascending.
template <class F>
HWY_INLINE void for_each_vector(int64_t begin, int64_t end, F f) {
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) f(Whole{i});
  if (i < end) f(Part{i, end - i});
}

/// Upper half + lower half, until one lane is left.
template <class D>
HWY_INLINE float fold_halves(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(D()) == 1) {
    return hn::GetLane(v);
  } else {
    const hn::Half<D> half;
    return fold_halves(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}

/// The 16 lanes as 8+8, 4+4, 2+2, 1+1: between registers first, then inside the last one.
HWY_INLINE float fold(const LaneArray& lane) {
  const F32 d;
  if constexpr (kLaneVectors == 1)
    return fold_halves(d, lane[0]);
  else if constexpr (kLaneVectors == 2)
    return fold_halves(d, hn::Add(lane[0], lane[1]));
  else
    return fold_halves(d, hn::Add(hn::Add(lane[0], lane[2]), hn::Add(lane[1], lane[3])));
}

/// Lane j of 16 takes elements j, j + 16, ... ascending through step(lanes, position), from 0;
/// lanes beyond n stay as they are.
template <class Step>
HWY_INLINE float reduce_row(int64_t n, Step step) {
  LaneArray lane;
  for (int64_t v = 0; v < kLaneVectors; ++v) lane[v] = hn::Zero(F32());
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (int64_t v = 0; v < kLaneVectors; ++v) lane[v] = step(lane[v], Whole{i + v * kLanes});
  for (int64_t v = 0; v < kLaneVectors; ++v, i += kLanes) {
    if (i + kLanes <= n) {
      lane[v] = step(lane[v], Whole{i});
    } else if (i < n) {
      const Part part{i, n - i};
      lane[v] = part.select(step(lane[v], part), lane[v]);
    }
  }
  return fold(lane);
}

/// Largest element, -inf for none; NaN never wins, and the + 0 makes a zero positive.
HWY_INLINE float max_of_row(const float* row, int64_t n) {
  const F32 d;
  const auto larger = [](F32Vec x, F32Vec m)
                          HWY_ATTR { return hn::IfThenElse(hn::Gt(x, m), x, m); };
  // The order of comparisons does not show in the result, so four chains hide the latency.
  constexpr int64_t kChains = 4;
  F32Vec m[kChains];
  for (auto& chain : m) chain = hn::Set(d, -std::numeric_limits<float>::infinity());
  int64_t i = 0;
  for (; i + kChains * kLanes <= n; i += kChains * kLanes)
    for (int64_t c = 0; c < kChains; ++c) m[c] = larger(Whole{i + c * kLanes}.load(row), m[c]);
  for_each_vector(i, n,
                  [&](auto at) HWY_ATTR { m[0] = at.select(larger(at.load(row), m[0]), m[0]); });
  const F32Vec all = larger(larger(m[0], m[1]), larger(m[2], m[3]));
  return hn::GetLane(hn::MaxOfLanes(d, all)) + 0.0f;
}

/// out[c] = step(... step(step(out[c], 0), 1) ..., rows - 1) for columns [begin, end): chains over
/// rows in registers.
template <class Step>
HWY_INLINE void column_chains(float* out, int64_t begin, int64_t end, int64_t rows, Step step) {
  constexpr int64_t kChains = 4;  // independent chains: latency of FMA
  int64_t c = begin;
  for (; c + kChains * kLanes <= end; c += kChains * kLanes) {
    F32Vec chain[kChains];
    for (int64_t v = 0; v < kChains; ++v) chain[v] = Whole{c + v * kLanes}.load(out);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t v = 0; v < kChains; ++v) chain[v] = step(chain[v], r, Whole{c + v * kLanes});
    for (int64_t v = 0; v < kChains; ++v) Whole{c + v * kLanes}.store(chain[v], out);
  }
  for_each_vector(c, end, [&](auto at) HWY_ATTR {
    F32Vec chain = at.load(out);
    for (int64_t r = 0; r < rows; ++r) chain = step(chain, r, at);
    at.store(chain, out);
  });
}

}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET

#endif  // MOE_KERNELS_CPU_LANES_INL_H_
