// SPDX-License-Identifier: MIT
// How close do the linear maps come to what this machine can do? GFLOP/s of forward, dx and dw for
// a dense layer, for experts and for few rows, as a share of the fused multiply-add peak measured
// in the same run (the clock of a shared machine swings, so numbers of different runs do not
// compare).
//   build/bench_gemm [threads [part of a table's or shape's name]]

// clang-format off: foreach_target.h includes this file again, so it comes first
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/gemm.cpp"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// clang-format on
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "moe/base/parallel.h"
#include "moe/base/str.h"
#include "moe/kernels/kernels.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Independent chains of multiply-adds in registers; returns the number of floating-point
/// operations.
double multiply_add_chains(int64_t steps) {
  const hn::CappedTag<float, 16> d;
  constexpr int kChains = HWY_TARGET == HWY_AVX2 ? 12 : 24;
  auto scale = hn::Set(d, 0.999f), shift = hn::Set(d, 0.001f);
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

}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
namespace moe {
namespace {

using Chains = double (*)(int64_t);

Chains chains_of(std::string_view table) {
  if (table == "cpu-avx512") return HWY_CHOOSE_AVX3(multiply_add_chains);
  if (table == "cpu-avx2") return HWY_CHOOSE_AVX2(multiply_add_chains);
  return HWY_CHOOSE_NEON(multiply_add_chains);
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Operations per second of all threads together, over about 0.2 ms.
double peak_sample(Chains chains) {
  std::vector<double> flop(static_cast<size_t>(n_threads()));
  const double start = now();
  parallel_for(n_threads(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) flop[size_t(i)] = chains(20000);
  });
  const double seconds = now() - start;
  double sum = 0;
  for (double f : flop) sum += f;
  return sum / seconds;
}

double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + std::ptrdiff_t(v.size() / 2), v.end());
  return v[v.size() / 2];
}

struct GemmShape {
  const char* name;
  int64_t experts, rows, K, N;  // rows: of all experts together
  bool gate_up;
};

/// Each timed run stands between two samples of the peak; the share is the median of the ratios.
void measure(const char* what, Chains chains, double flop, double bytes,
             const std::function<void()>& f) {
  f();
  const double once = [&] {
    const double t = now();
    f();
    return now() - t;
  }();
  const int repeats = std::max(1, int(1e-3 / once)),
            samples = std::clamp(int(0.3 / (once * repeats)), 5, 60);
  std::vector<double> speed, share;
  for (int i = 0; i < samples; ++i) {
    const double before = peak_sample(chains), start = now();
    for (int j = 0; j < repeats; ++j) f();
    const double s = flop * repeats / (now() - start), after = peak_sample(chains);
    speed.push_back(s);
    share.push_back(2 * s / (before + after));
  }
  const double s = median(speed);
  std::printf("  %-4s %6.0f GFLOP/s %4.0f %% of peak", what, s * 1e-9, 100 * median(share));
  if (bytes > 0) std::printf("  (weights at %.1f GB/s)", s / flop * bytes * 1e-9);
}

void run(const Kernels& k, const GemmShape& shape) {
  const Chains chains = chains_of(k.name);
  const auto filled = [](Tensor t) {
    uint32_t state = 1;
    for (float& x : t.data<float>())
      x = float(int32_t(state = state * 1664525u + 1013904223u)) * 0x1p-33f;
    return t;
  };
  const Layout layout = shape.gate_up ? Layout::panel16_gate_up : Layout::panel16;
  const Tensor w = filled(Tensor::empty({shape.experts, shape.N, shape.K}, DType::f32, layout));
  const Tensor x = filled(Tensor::empty({shape.rows, shape.K}, DType::f32));
  const Tensor y = filled(Tensor::empty({shape.rows, w.panel_map().out_cols()}, DType::f32));
  // Uneven, as routers are: expert e gets a share that falls from 1.5 to 0.5 of the mean.
  std::vector<int32_t> offsets{0};
  for (int64_t e = 1; e <= shape.experts; ++e) {
    const double t = double(e) / double(shape.experts);
    offsets.push_back(int32_t(double(shape.rows) * t * (1.5 - 0.5 * t)));
  }
  const GroupedGemm g{y.view(), x.view(), w.panels(), {}, offsets, nullptr};
  const double flop = 2.0 * double(shape.rows * shape.N * shape.K);
  const double bytes = shape.rows <= 16 * shape.experts ? double(w.stored_bytes()) : 0;
  std::printf("%-10s %-24s", k.name, shape.name);
  measure("fwd", chains, flop, bytes, [&] { k.grouped_gemm(g); });
  measure("dx", chains, flop, 0, [&] { k.grouped_gemm_dx(g); });
  measure("dw", chains, flop, 0, [&] { k.grouped_gemm_dw(g); });
  std::printf("\n");
}

}  // namespace
}  // namespace moe

int main(int argc, char** argv) {
  if (argc > 1) moe::set_threads(std::atoi(argv[1]));
  const moe::GemmShape shapes[] = {
      {"qkv 4096 x 384 x 1152", 1, 4096, 384, 1152, false},
      {"gate_up 4096 x 384 x 2048", 1, 4096, 384, 2048, true},
      {"down 4096 x 1024 x 384", 1, 4096, 1024, 384, false},
      {"router 4096 x 384 x 8", 1, 4096, 384, 8, false},
      {"head 4096 x 384 x 256", 1, 4096, 384, 256, false},
      {"8 experts 8192 up", 8, 8192, 384, 1024, true},
      {"8 experts 8192 down", 8, 8192, 512, 384, false},
      {"32 experts 4096 up", 32, 4096, 384, 512, true},
      {"32 experts 512 up", 32, 512, 384, 512, true},
      {"1 row x 4096 x 4096", 1, 1, 4096, 4096, false},
      {"4 rows x 4096 x 4096", 1, 4, 4096, 4096, false},
      {"16 rows x 4096 x 4096", 1, 16, 4096, 4096, false},
  };
  std::printf("%d threads\n", moe::n_threads());
  const std::string_view part = argc > 2 ? argv[2] : "";
  for (const moe::Kernels* table : moe::cpu_kernels())
    for (const moe::GemmShape& shape : shapes)
      if (moe::str(table->name, " ", shape.name).find(part) != std::string::npos)
        moe::run(*table, shape);
}
#endif
