// SPDX-License-Identifier: MIT
// Elementary functions of the float32 contract, scalar form: one FMA polynomial for all targets
// (kernels/cpu/math-inl.h holds the same operations on vectors, bit for bit). In double they are
// libm's. Error bounds are tested in tests/kernels/math_test.cpp.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace moe {

namespace math_constants {
// exp: n = round(x log2 e) by the magic-number trick, r = x - n ln 2 in two steps (the first is
// exact), a polynomial in r, then n is added to the exponent bits. 0 below kExpLo (the result would
// be subnormal), inf above kExpHi.
inline constexpr float kMagic = 12582912.0f, kLog2e = 0x1.715476p+0f, kLn2Hi = 0x1.62e430p-1f,
                       kLn2Lo = -0x1.05c610p-29f;
inline constexpr float kExpLo = -87.33654f, kExpHi = 88.72283f;
inline constexpr float kExpC[7] = {
    0x1.6a23dp-10f, 0x1.123a2p-7f, 0x1.5558f2p-5f, 0x1.555492p-3f, 0x1.fffffcp-2f, 1.0f, 1.0f};
// tanh: odd polynomial below 0.625 (Cephes), 1 - 2 / (exp(2|x|) + 1) above.
inline constexpr float kTanhC[5] = {-5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f,
                                    1.33314422036e-1f, -3.33332819422e-1f};
// erf: polynomial below 0.927734375, 1 - exp(polynomial) above (coefficients after N. Juffa's
// public erff).
inline constexpr float kErfSplit = 0.927734375f;
inline constexpr float kErfSmallC[6] = {-5.96761703e-4f, 4.99119423e-3f,  -2.67681349e-2f,
                                        1.12819925e-1f,  -3.76125336e-1f, 1.28379166e-1f};
inline constexpr float kErfLargeC[7] = {-1.72853470e-5f, 3.83197126e-4f,  -3.88396438e-3f,
                                        2.42546219e-2f,  -1.06777877e-1f, -6.34846687e-1f,
                                        -1.28717512e-1f};
inline constexpr float kSqrtHalf = 0.70710678f, kInvSqrt2Pi = 0.39894228f,
                       kSqrt2OverPi = 0.79788456f, kGeluCubic = 0.044715f, kGeluCubic3 = 0.134145f;
}  // namespace math_constants

inline float exp_(float x) {
  using namespace math_constants;
  const float t = std::fma(x, kLog2e, kMagic), n = t - kMagic;
  const float r = std::fma(n, -kLn2Lo, std::fma(n, -kLn2Hi, x));
  float p = kExpC[0];
  for (int i = 1; i < 7; ++i) p = std::fma(p, r, kExpC[i]);
  p = std::bit_cast<float>(std::bit_cast<uint32_t>(p) + (std::bit_cast<uint32_t>(t) << 23));
  // The last case: x above kExpHi gives inf, a NaN of any payload stays NaN.
  return x < kExpLo ? 0.0f : x <= kExpHi ? p : x + std::numeric_limits<float>::infinity();
}
inline double exp_(double x) { return std::exp(x); }

inline float tanh_(float x) {
  using namespace math_constants;
  const float z = x * x, y = std::fabs(x);
  float p = kTanhC[0];
  for (int i = 1; i < 5; ++i) p = std::fma(p, z, kTanhC[i]);
  return y < 0.625f ? std::fma(p * z, x, x) : std::copysign(1.0f - 2.0f / (exp_(y + y) + 1.0f), x);
}
inline double tanh_(double x) { return std::tanh(x); }

inline float erf_(float x) {
  using namespace math_constants;
  const float a = std::fabs(x), s = x * x;
  if (a < kErfSplit) {
    float r = kErfSmallC[0];
    for (int i = 1; i < 6; ++i) r = std::fma(r, s, kErfSmallC[i]);
    return std::fma(r, x, x);
  }
  float r = std::fma(kErfLargeC[0], a, kErfLargeC[1]);
  const float u = std::fma(kErfLargeC[2], a, kErfLargeC[3]);
  r = std::fma(r, s, u);
  r = std::fma(r, a, kErfLargeC[4]);
  r = std::fma(r, a, kErfLargeC[5]);
  r = std::fma(r, a, kErfLargeC[6]);
  r = std::fma(r, a, -a);
  return std::copysign(1.0f - exp_(r), x);
}
inline double erf_(double x) { return std::erf(x); }

/// Natural logarithm (Cephes logf with FMA): mantissa in [sqrt(1/2), sqrt(2)), polynomial, exponent
/// times ln 2 in two parts. Scalar only: the loss takes one logarithm a token. log(0) = -inf,
/// negative: NaN, subnormals exact like the rest.
inline float log_(float x) {
  if (!(x > 0.0f))
    return x == 0.0f ? -std::numeric_limits<float>::infinity()
                     : std::numeric_limits<float>::quiet_NaN();
  if (x == std::numeric_limits<float>::infinity()) return x;
  int exponent = 0;
  float m = std::frexp(x, &exponent);
  if (m < math_constants::kSqrtHalf) {
    m = m + m;
    exponent -= 1;
  }
  m = m - 1.0f;
  const float z = m * m;
  constexpr float c[9] = {7.0376836292e-2f,  -1.1514610310e-1f, 1.1676998740e-1f,
                          -1.2420140846e-1f, 1.4249322787e-1f,  -1.6668057665e-1f,
                          2.0000714765e-1f,  -2.4999993993e-1f, 3.3333331174e-1f};
  float y = c[0];
  for (int i = 1; i < 9; ++i) y = std::fma(y, m, c[i]);
  y = y * m * z;
  const float e = float(exponent);
  y = std::fma(e, -2.12194440e-4f, y);
  y = std::fma(-0.5f, z, y);
  return std::fma(e, 0.693359375f, m + y);
}
inline double log_(double x) { return std::log(x); }

template <class T>
T sigmoid_(T x) {
  return T(1) / (T(1) + exp_(-x));
}

}  // namespace moe
