// SPDX-License-Identifier: MIT
// What this machine can do at this moment: multiply-adds that stay in registers, and a plain read
// of memory. The clock of a shared machine swings and neighbours take time, so a ceiling is sampled
// beside each run of what is measured, and only ratios of one run compare. Included once per
// target.
#if defined(MOE_BENCH_CEILINGS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MOE_BENCH_CEILINGS_INL_H_
#undef MOE_BENCH_CEILINGS_INL_H_
#else
#define MOE_BENCH_CEILINGS_INL_H_
#endif

#include <cstdint>

#include "hwy/highway.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Independent chains of multiply-adds; returns the number of floating-point operations.
inline double multiply_add_chains(int64_t steps) {
  const hn::CappedTag<float, 16> d;
  constexpr int kChains = HWY_TARGET == HWY_AVX2 ? 12 : 24;  // all but a few of the registers
  const auto scale = hn::Set(d, 0.999f), shift = hn::Set(d, 0.001f);
  hn::Vec<decltype(d)> chain[kChains];
  for (auto& c : chain) c = scale;
  for (int64_t i = 0; i < steps; ++i)
#pragma GCC unroll 24
    for (auto& c : chain) c = hn::MulAdd(c, scale, shift);
  auto sum = chain[0];
  for (auto& c : chain) sum = hn::Add(sum, c);
  volatile float sink = hn::GetLane(sum);
  (void)sink;
  return double(steps) * kChains * 2 * double(hn::Lanes(d));
}

/// Reads n floats (a multiple of 64).
inline void read_floats(const float* x, int64_t n) {
  const hn::CappedTag<float, 16> d;
  constexpr int64_t kLanes = hn::MaxLanes(d);
  auto a = hn::Zero(d), b = a, c = a, e = a;
  for (int64_t i = 0; i < n; i += 4 * kLanes) {
    a = hn::Add(a, hn::LoadU(d, x + i));
    b = hn::Add(b, hn::LoadU(d, x + i + kLanes));
    c = hn::Add(c, hn::LoadU(d, x + i + 2 * kLanes));
    e = hn::Add(e, hn::LoadU(d, x + i + 3 * kLanes));
  }
  volatile float sink = hn::GetLane(hn::Add(hn::Add(a, b), hn::Add(c, e)));
  (void)sink;
}

}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET

#endif  // MOE_BENCH_CEILINGS_INL_H_
