// SPDX-License-Identifier: MIT
// The dot product that is no GEMM (docs/NUMERICS.md: 16 lanes, then folded), for one Highway
// target.
#if defined(MOE_KERNELS_CPU_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MOE_KERNELS_CPU_SIMD_INL_H_
#undef MOE_KERNELS_CPU_SIMD_INL_H_
#else
#define MOE_KERNELS_CPU_SIMD_INL_H_
#endif

#include <cstdint>
#include <cstring>

#include "moe/kernels/cpu/lanes-inl.h"

#include "hwy/highway.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {

/// Row reduction of fma(x[i], y[i], lane). Written out because g++ 12.2 fails (internal error) on
/// reduce_row with this step.
inline float dot_of_row(const float* x, const float* y, int64_t n) {
  const F32 d;
  F32Vec lane[kLaneVectors];
  for (int64_t v = 0; v < kLaneVectors; ++v) lane[v] = hn::Zero(d);
  const int64_t whole = n / 16 * 16;
  for (int64_t i = 0; i < whole; i += 16)
    for (int64_t v = 0; v < kLaneVectors; ++v) {
      const Whole at{i + v * kLanes};
      lane[v] = hn::MulAdd(at.load(x), at.load(y), lane[v]);
    }
  if (whole < n) {
    HWY_ALIGN float x_tail[16] = {}, y_tail[16] = {};
    std::memcpy(x_tail, x + whole, size_t(n - whole) * sizeof(float));
    std::memcpy(y_tail, y + whole, size_t(n - whole) * sizeof(float));
    for (int64_t v = 0; v < kLaneVectors; ++v) {
      const Whole at{v * kLanes};
      const F32Vec next = hn::MulAdd(at.load(x_tail), at.load(y_tail), lane[v]);
      // Selected, because 0 * 0 + -0 is +0.
      const auto inside = hn::Lt(hn::Iota(d, float(at.i)), hn::Set(d, float(n - whole)));
      lane[v] = hn::IfThenElse(inside, next, lane[v]);
    }
  }
  return fold(lane);
}

}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET

#endif  // MOE_KERNELS_CPU_SIMD_INL_H_
