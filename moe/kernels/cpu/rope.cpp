// SPDX-License-Identifier: MIT
// Rotary position embedding, rows split over threads: (a, b) becomes (a cos - b sin, b cos + a
// sin), one rounded product and one FMA each (docs/NUMERICS.md). y may be x.
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moe/kernels/cpu/rope.cpp"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#include "hwy/foreach_target.h"
// After foreach_target.h, which includes this file again.
#include "moe/kernels/cpu/frame.h"
#include "moe/kernels/cpu/lanes-inl.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {
namespace {

// The rotation by (cos, sin * sign) of any number type: vectors, and single numbers for the rest of
// a row of pairs.
struct Rotation {
  float sign;
  HWY_INLINE void operator()(F32Vec& a, F32Vec& b, F32Vec cos, F32Vec sin) const {
    const F32Vec s = hn::Mul(sin, hn::Set(F32(), sign)), a0 = a;
    a = hn::MulSub(a, cos, hn::Mul(b, s));
    b = hn::MulAdd(b, cos, hn::Mul(a0, s));
  }
  HWY_INLINE void operator()(float& a, float& b, float cos, float sin) const {
    const float s = sin * sign, a0 = a;
    a = std::fma(a, cos, -(b * s));
    b = std::fma(b, cos, a0 * s);
  }
};

template <bool kAccumulate>
HWY_INLINE F32Vec added(F32Vec old, F32Vec value) {
  return kAccumulate ? hn::Add(old, value) : value;
}
template <bool kAccumulate>
HWY_INLINE float added(float old, float value) {
  return kAccumulate ? old + value : value;
}

template <bool kAccumulate>
void rotate_halves(float* y, const float* x, const float* cos, const float* sin, int64_t half,
                   Rotation rotation) {
  for_each_vector(0, half, [&](auto at) HWY_ATTR {
    F32Vec a = at.load(x), b = at.load(x + half);
    rotation(a, b, at.load(cos), at.load(sin));
    at.store(added<kAccumulate>(at.load(y), a), y);
    at.store(added<kAccumulate>(at.load(y + half), b), y + half);
  });
}

template <bool kAccumulate>
void rotate_interleaved(float* y, const float* x, const float* cos, const float* sin, int64_t half,
                        Rotation rotation) {
  const F32 d;
  int64_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    F32Vec a, b, old_a = hn::Zero(d), old_b = old_a;
    hn::LoadInterleaved2(d, x + 2 * i, a, b);
    rotation(a, b, hn::LoadU(d, cos + i), hn::LoadU(d, sin + i));
    if constexpr (kAccumulate) hn::LoadInterleaved2(d, y + 2 * i, old_a, old_b);
    hn::StoreInterleaved2(added<kAccumulate>(old_a, a), added<kAccumulate>(old_b, b), d, y + 2 * i);
  }
  for (; i < half; ++i) {
    float a = x[2 * i], b = x[2 * i + 1];
    rotation(a, b, cos[i], sin[i]);
    y[2 * i] = added<kAccumulate>(y[2 * i], a);
    y[2 * i + 1] = added<kAccumulate>(y[2 * i + 1], b);
  }
}

// out = rotated, or out += rotated; sign -1 rotates back (the backward of an orthogonal map).
template <bool kAccumulate>
void rotate(MatView out, MatView in, const Rope& r, float sign) {
  const auto rotate_head =
      r.interleaved ? rotate_interleaved<kAccumulate> : rotate_halves<kAccumulate>;
  for_row_ranges(in.rows, r.heads * r.head_dim, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t position = r.positions_T[size_t(t)];
      const float *cos = r.cos_PR.row<float>(position), *sin = r.sin_PR.row<float>(position);
      for (int64_t h = 0; h < r.heads; ++h) {
        const float* x = in.row<float>(t) + h * r.head_dim;
        float* y = out.row<float>(t) + h * r.head_dim;
        rotate_head(y, x, cos, sin, r.rotary_dim / 2, Rotation{sign});
        for_each_vector(r.rotary_dim, r.head_dim, [&](auto at) HWY_ATTR {
          at.store(added<kAccumulate>(at.load(y), at.load(x)), y);
        });
      }
    }
  });
}

void install_rope(Kernels& k) {
  k.rope_fwd = [](MatView y, MatView x, const Rope& r) { rotate<false>(y, x, r, 1.0f); };
  k.rope_bwd = [](MatView dx, MatView dy, const Rope& r) {
    (r.accumulate ? rotate<true> : rotate<false>)(dx, dy, r, -1.0f);
  };
}

}  // namespace
}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
namespace moe {
MOE_DEFINE_CPU_INSTALL(cpu_install_rope, install_rope)
}
#endif
