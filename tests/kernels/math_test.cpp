// SPDX-License-Identifier: MIT
// The elementary functions: vector form equals scalar form bit for bit on every target, and how far
// both are from libm.
#include "moe/kernels/math.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <gtest/gtest.h>
#include <limits>

// Per target from here on.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/kernels/math_test.cpp"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#include "hwy/foreach_target.h"
// After foreach_target.h, which includes this file again.
#include "moe/kernels/cpu/lanes-inl.h"
#include "moe/kernels/cpu/math-inl.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {

// y[i] = f(x[i]) for 16 numbers; which: the order of kFunctions below.
void evaluate16(int which, const float* x, float* y) {
  const F32 d;
  for_each_vector(0, 16, [&](auto at) HWY_ATTR {
    const F32Vec v = at.load(x);
    at.store(which == 0   ? Exp(d, v)
             : which == 1 ? Tanh(d, v)
             : which == 2 ? Erf(d, v)
                          : Sigmoid(d, v),
             y);
  });
}

}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
namespace moe {
namespace {

using Evaluate16 = void (*)(int which, const float* x, float* y);

struct VectorForm {
  const char* target;
  Evaluate16 evaluate16;
};

std::vector<VectorForm> vector_forms() {
  const Evaluate16 avx2 = HWY_CHOOSE_AVX2(evaluate16), avx512 = HWY_CHOOSE_AVX3(evaluate16),
                   neon = HWY_CHOOSE_NEON(evaluate16);
  const int64_t supported = hwy::SupportedTargets();
  std::vector<VectorForm> forms;
  if (supported & HWY_AVX2) forms.push_back({"avx2", avx2});
  if (supported & HWY_AVX3) forms.push_back({"avx512", avx512});
  if (supported & HWY_NEON) forms.push_back({"neon", neon});
  return forms;
}

struct Function {
  const char* name;
  float (*scalar)(float);
  double (*libm)(double);
  float low, high;  // where `ulp` holds: results neither subnormal nor infinite
  double ulp;       // largest error over every 97th float, rounded up in the second digit
};
double sigmoid_libm(double x) { return 1 / (1 + std::exp(-x)); }
const float kAll = std::numeric_limits<float>::max();
const Function kFunctions[] = {
    {"exp", [](float x) { return exp_(x); }, [](double x) { return std::exp(x); },
     math_constants::kExpLo, math_constants::kExpHi, 0.87},
    // 1.31 just above 0.625, where 1 - 2 / (exp + 1) takes over.
    {"tanh", [](float x) { return tanh_(x); }, [](double x) { return std::tanh(x); }, -kAll, kAll,
     1.31},
    {"erf", [](float x) { return erf_(x); }, [](double x) { return std::erf(x); }, -kAll, kAll,
     0.98},
    // Three roundings after exp's: the sum, the quotient, and below 1/2 the error of exp counts in
    // full.
    {"sigmoid", [](float x) { return sigmoid_(x); }, sigmoid_libm, -87.0f, kAll, 2.30},
    {"log", [](float x) { return log_(x); }, [](double x) { return std::log(x); },
     std::numeric_limits<float>::denorm_min(), kAll, 0.79},
};

TEST(Math, VectorFormHasTheBitsOfTheScalarForm) {
  for (const VectorForm& form : vector_forms()) {
    SCOPED_TRACE(form.target);
    for (int f = 0; f < 4; ++f) {
      int64_t differing = 0;
      float first = 0;
      for (uint64_t start = 0; start < 1ull << 32; start += 16 * 1997) {
        float x[16], y[16];
        for (uint64_t i = 0; i < 16; ++i) x[i] = std::bit_cast<float>(uint32_t(start + i * 1997));
        form.evaluate16(f, x, y);
        for (int i = 0; i < 16; ++i) {
          const float want = kFunctions[f].scalar(x[i]);
          const bool same = std::isnan(x[i])
                                ? std::isnan(y[i])
                                : std::bit_cast<uint32_t>(want) == std::bit_cast<uint32_t>(y[i]);
          if (!same && differing++ == 0) first = x[i];
        }
      }
      EXPECT_EQ(differing, 0) << kFunctions[f].name << ", first at " << first;
    }
  }
}

TEST(Math, VectorAndScalarFormsAgreeAtLimits) {
  using Limits = std::numeric_limits<float>;
  const float kExpLo = math_constants::kExpLo, kExpHi = math_constants::kExpHi,
              kSplit = math_constants::kErfSplit;
  float x[48] = {0.0f,
                 -0.0f,
                 1.0f,
                 -1.0f,
                 Limits::infinity(),
                 -Limits::infinity(),
                 Limits::max(),
                 Limits::lowest(),
                 Limits::min(),
                 -Limits::min(),
                 Limits::denorm_min(),
                 -Limits::denorm_min(),
                 Limits::quiet_NaN(),
                 -Limits::quiet_NaN(),
                 0.5f,
                 -0.5f};
  int n = 16;
  for (const float edge : {kExpLo, kExpHi, kExpHi / 2, 0.625f, kSplit})
    for (const float sign : {1.0f, -1.0f})
      for (const float towards : {0.0f, edge, 2 * edge})
        x[n++] = sign * std::nextafterf(edge, towards);
  ASSERT_EQ(n, 46);
  for (const VectorForm& form : vector_forms())
    for (int f = 0; f < 4; ++f)
      for (int start = 0; start < 48; start += 16) {
        float y[16];
        form.evaluate16(f, x + start, y);
        for (int i = 0; i < 16; ++i) {
          const float want = kFunctions[f].scalar(x[start + i]);
          EXPECT_TRUE(std::bit_cast<uint32_t>(want) == std::bit_cast<uint32_t>(y[i]) ||
                      (std::isnan(want) && std::isnan(y[i])))
              << form.target << " " << kFunctions[f].name << "(" << x[start + i] << ") = " << y[i]
              << ", scalar " << want;
        }
      }
}

TEST(Math, ErrorsStayWithinTheStatedUlps) {
  for (const Function& f : kFunctions) {
    double worst = 0;
    float where = 0;
    for (uint64_t bits = 0; bits < 1ull << 32; bits += 3989) {
      const float x = std::bit_cast<float>(uint32_t(bits));
      if (!(x >= f.low && x <= f.high)) continue;
      const double want = f.libm(double(x));
      if (std::fabs(want) < double(std::numeric_limits<float>::min()))
        continue;  // a subnormal has fewer digits
      const double ulps =
          std::fabs(double(f.scalar(x)) - want) / std::ldexp(1.0, std::ilogb(want) - 23);
      if (ulps > worst) worst = ulps, where = x;
    }
    EXPECT_LE(worst, f.ulp) << f.name << " at " << where;
    EXPECT_GT(worst, 0.5) << f.name << ": a bound that is never neared says nothing";
  }
}

TEST(Math, ExactValues) {
  const float inf = std::numeric_limits<float>::infinity();
  EXPECT_EQ(exp_(0.0f), 1.0f);
  EXPECT_EQ(exp_(-0.0f), 1.0f);
  EXPECT_EQ(exp_(-inf), 0.0f);
  EXPECT_EQ(exp_(inf), inf);
  EXPECT_EQ(exp_(-87.4f), 0.0f);
  EXPECT_EQ(exp_(88.8f), inf);
  EXPECT_EQ(tanh_(inf), 1.0f);
  EXPECT_EQ(tanh_(-inf), -1.0f);
  EXPECT_EQ(tanh_(-0.0f), 0.0f);
  EXPECT_EQ(erf_(inf), 1.0f);
  EXPECT_EQ(erf_(-inf), -1.0f);
  EXPECT_TRUE(std::signbit(erf_(-0.0f)));
  EXPECT_EQ(sigmoid_(0.0f), 0.5f);
  EXPECT_EQ(sigmoid_(-inf), 0.0f);
  EXPECT_EQ(sigmoid_(inf), 1.0f);
  EXPECT_EQ(log_(1.0f), 0.0f);
  EXPECT_EQ(log_(0.0f), -inf);
  EXPECT_EQ(log_(-0.0f), -inf);
  EXPECT_EQ(log_(inf), inf);
  EXPECT_TRUE(std::isnan(log_(-1.0f)));
  for (float (*f)(float) : {kFunctions[0].scalar, kFunctions[1].scalar, kFunctions[2].scalar,
                            kFunctions[3].scalar, kFunctions[4].scalar})
    EXPECT_TRUE(std::isnan(f(std::numeric_limits<float>::quiet_NaN())));
}

}  // namespace
}  // namespace moe
#endif
