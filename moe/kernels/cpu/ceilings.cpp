// SPDX-License-Identifier: MIT
// clang-format off: foreach_target.h includes this file again, so it comes first
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moe/kernels/cpu/ceilings.cpp"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on
#include <algorithm>
#include <chrono>

#include "moe/base/parallel.h"
#include "moe/kernels/cpu/ceilings.h"
#include "moe/kernels/kernels.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Independent chains of multiply-adds; returns the number of floating-point operations.
double multiply_add_chains(int64_t steps) {
  const hn::CappedTag<float, 16> d;
  constexpr int kChains = HWY_TARGET == HWY_AVX2 ? 12 : 24;  // all but a few of the registers
  const auto scale = hn::Set(d, 0.999f), shift = hn::Set(d, 0.001f);
  hn::Vec<decltype(d)> chain[kChains];
  // Different values, or the compiler sees that all chains are one.
#pragma GCC unroll 24
  for (int i = 0; i < kChains; ++i) chain[i] = hn::Set(d, 0.5f + 0.01f * float(i));
  for (int64_t i = 0; i < steps; ++i)
#pragma GCC unroll 24
    for (auto& c : chain) c = hn::MulAdd(c, scale, shift);
  auto sum = chain[0];
#pragma GCC unroll 24
  for (auto& c : chain) sum = hn::Add(sum, c);
  volatile float sink = hn::GetLane(sum);
  (void)sink;
  return double(steps) * kChains * 2 * double(hn::Lanes(d));
}

void read_floats(const float* x, int64_t n) {
  const hn::CappedTag<float, 16> d;
  constexpr int64_t kLanes = hn::MaxLanes(d);
  auto a = hn::Zero(d), b = a, c = a, e = a;
  for (int64_t i = 0; i + 4 * kLanes <= n; i += 4 * kLanes) {
    a = hn::Add(a, hn::LoadU(d, x + i));
    b = hn::Add(b, hn::LoadU(d, x + i + kLanes));
    c = hn::Add(c, hn::LoadU(d, x + i + 2 * kLanes));
    e = hn::Add(e, hn::LoadU(d, x + i + 3 * kLanes));
  }
  volatile float sink = hn::GetLane(hn::Add(hn::Add(a, b), hn::Add(c, e)));
  (void)sink;
}

}  // namespace
}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET

#if HWY_ONCE
namespace moe {

Ceilings::Ceilings(std::string_view table) {
  if (table != "cpu-avx512" && table != "cpu-avx2") table = cpu_kernels().front()->name;
  if (table == "cpu-avx512") {
    multiply_add_chains_ = HWY_CHOOSE_AVX3(multiply_add_chains);
    read_floats_ = HWY_CHOOSE_AVX3(read_floats);
  } else if (table == "cpu-avx2") {
    multiply_add_chains_ = HWY_CHOOSE_AVX2(multiply_add_chains);
    read_floats_ = HWY_CHOOSE_AVX2(read_floats);
  } else {
    multiply_add_chains_ = HWY_CHOOSE_NEON(multiply_add_chains);
    read_floats_ = HWY_CHOOSE_NEON(read_floats);
  }
}

double seconds_of(const std::function<void()>& f) {
  const auto start = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double Ceilings::multiply_add_sample() const {
  // Each thread times its own chains: threads do not start at the same instant.
  std::vector<double> speed(static_cast<size_t>(n_threads()));
  parallel_for(n_threads(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      double flop = 0;
      const double seconds = seconds_of([&] { flop = multiply_add_chains_(4000); });
      speed[size_t(i)] = flop / seconds;
    }
  });
  double sum = 0;
  for (const double s : speed) sum += s;
  return sum;
}

double Ceilings::read_sample(const float* x, int64_t n) const {
  return double(n) * sizeof(float) / seconds_of([&] {
           parallel_for(n, 16384,
                        [&](int64_t begin, int64_t end) { read_floats_(x + begin, end - begin); });
         });
}

double quantile(std::vector<double> v, double p) {
  if (v.empty()) return 0;
  const size_t i = std::min(v.size() - 1, size_t(p * double(v.size())));
  std::nth_element(v.begin(), v.begin() + std::ptrdiff_t(i), v.end());
  return v[i];
}

double median(std::vector<double> v) { return quantile(std::move(v), 0.5); }

}  // namespace moe
#endif
