// SPDX-License-Identifier: MIT
// Elementary functions on Highway vectors: the operations of moe/kernels/math.h in the same order,
// so the same bits on every target (tests/kernels/math_test.cpp compares them). Both sides of each
// branch are computed and one is selected. Included once per target (the file toggles its guard);
// see moe/kernels/cpu/lanes-inl.h for the frame of a kernel file.
#if defined(MOE_KERNELS_CPU_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MOE_KERNELS_CPU_MATH_INL_H_
#undef MOE_KERNELS_CPU_MATH_INL_H_
#else
#define MOE_KERNELS_CPU_MATH_INL_H_
#endif

#include "moe/kernels/math.h"

#include "hwy/highway.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// c[0] x^(N-1) + ... + c[N-1] by Horner's rule, one FMA a step.
template <class D, size_t N>
HWY_INLINE hn::Vec<D> Polynomial(D d, hn::Vec<D> x, const float (&c)[N]) {
  auto p = hn::Set(d, c[0]);
  for (size_t i = 1; i < N; ++i) p = hn::MulAdd(p, x, hn::Set(d, c[i]));
  return p;
}

/// exp(x): 0 below -87.33654, inf above 88.72283, NaN for NaN.
template <class D>
HWY_INLINE hn::Vec<D> Exp(D d, hn::Vec<D> x) {
  using namespace math_constants;
  const hn::RebindToUnsigned<D> du;
  const auto magic = hn::Set(d, kMagic);
  const auto t = hn::MulAdd(x, hn::Set(d, kLog2e), magic);
  const auto n = hn::Sub(t, magic);
  const auto r = hn::MulAdd(n, hn::Set(d, -kLn2Lo), hn::MulAdd(n, hn::Set(d, -kLn2Hi), x));
  auto p = Polynomial(d, r, kExpC);
  p = hn::BitCast(d, hn::Add(hn::BitCast(du, p), hn::ShiftLeft<23>(hn::BitCast(du, t))));
  // x + inf is inf where x is too large and NaN where x is NaN: one selection settles both.
  const auto beyond = hn::Add(x, hn::Set(d, std::numeric_limits<float>::infinity()));
  p = hn::IfThenElse(hn::Le(x, hn::Set(d, kExpHi)), p, beyond);
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, kExpLo)), p);
}

template <class D>
HWY_INLINE hn::Vec<D> Tanh(D d, hn::Vec<D> x) {
  using namespace math_constants;
  const auto z = hn::Mul(x, x), y = hn::Abs(x), one = hn::Set(d, 1.0f);
  const auto p = Polynomial(d, z, kTanhC);
  const auto small = hn::MulAdd(hn::Mul(p, z), x, x);
  const auto large = hn::Sub(one, hn::Div(hn::Set(d, 2.0f), hn::Add(Exp(d, hn::Add(y, y)), one)));
  return hn::IfThenElse(hn::Lt(y, hn::Set(d, 0.625f)), small, hn::CopySign(large, x));
}

template <class D>
HWY_INLINE hn::Vec<D> Erf(D d, hn::Vec<D> x) {
  using namespace math_constants;
  const auto a = hn::Abs(x), s = hn::Mul(x, x);
  const auto small = hn::MulAdd(Polynomial(d, s, kErfSmallC), x, x);
  const auto c = [&](int i) HWY_ATTR { return hn::Set(d, kErfLargeC[i]); };
  auto r = hn::MulAdd(c(0), a, c(1));
  r = hn::MulAdd(r, s, hn::MulAdd(c(2), a, c(3)));
  r = hn::MulAdd(r, a, c(4));
  r = hn::MulAdd(r, a, c(5));
  r = hn::MulAdd(r, a, c(6));
  r = hn::MulAdd(r, a, hn::Neg(a));
  const auto large = hn::Sub(hn::Set(d, 1.0f), Exp(d, r));
  return hn::IfThenElse(hn::Lt(a, hn::Set(d, kErfSplit)), small, hn::CopySign(large, x));
}

template <class D>
HWY_INLINE hn::Vec<D> Sigmoid(D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, Exp(d, hn::Neg(x))));
}

}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET

#endif  // MOE_KERNELS_CPU_MATH_INL_H_
