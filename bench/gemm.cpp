// SPDX-License-Identifier: MIT
// How close do the linear maps come to what this machine can do? GFLOP/s of forward, dx and dw for
// a dense layer, for experts and for few rows, as a share of the fused multiply-add peak measured
// in the same run, and of what the same chains reached just before and after each sample: a shared
// machine's speed swings within seconds, and only the second is steady there.
//   build/bench_gemm [threads [part of a table's or shape's name]]

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "moe/base/parallel.h"
#include "moe/base/str.h"
#include "moe/kernels/cpu/ceilings.h"
#include "moe/kernels/kernels.h"

namespace moe {
namespace {

struct GemmShape {
  const char* name;
  int64_t experts, rows, K, N;  // rows: of all experts together
  bool gate_up;
};

/// The median speed over the best sample of the peak; the median of the speeds over the samples of
/// the peak beside each.
void measure(const char* what, const Ceilings& ceilings, double flop, double bytes,
             const std::function<void()>& f) {
  f();
  const double once = seconds_of(f);
  const int repeats = std::max(1, int(1e-3 / once)),
            samples = std::clamp(int(0.3 / (once * repeats)), 5, 60);
  std::vector<double> speed, of_beside;
  double peak = 0;
  const auto peak_now = [&] {
    double sum = 0;
    for (int j = 0; j < 5; ++j) {
      const double sample = ceilings.multiply_add_sample();
      peak = std::max(peak, sample);
      sum += sample;
    }
    return sum / 5;
  };
  for (int i = 0; i < samples; ++i) {
    const double before = peak_now();
    speed.push_back(flop * repeats / seconds_of([&] {
                      for (int j = 0; j < repeats; ++j) f();
                    }));
    of_beside.push_back(speed.back() / ((before + peak_now()) / 2));
  }
  const double s = median(speed);
  std::printf("  %-4s %6.0f GFLOP/s %4.0f %% of peak %4.0f %% of beside", what, s * 1e-9,
              100 * s / peak, 100 * median(of_beside));
  if (bytes > 0) std::printf("  (weights at %.1f GB/s)", s / flop * bytes * 1e-9);
}

void run(const Kernels& k, const GemmShape& shape) {
  const Ceilings ceilings(k.name);
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
  measure("fwd", ceilings, flop, bytes, [&] { k.grouped_gemm(g); });
  measure("dx", ceilings, flop, 0, [&] { k.grouped_gemm_dx(g); });
  measure("dw", ceilings, flop, 0, [&] { k.grouped_gemm_dw(g); });
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
      {"8 experts 8192 up", 8, 8192, 384, 2048, true},
      {"8 experts 8192 down", 8, 8192, 1024, 384, false},
      {"32 experts 16384 up", 32, 16384, 384, 512, true},
      {"32 experts 16384 down", 32, 16384, 256, 384, false},
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
