// SPDX-License-Identifier: MIT
#include "moe/study/bench_kernels.h"

#include <algorithm>

#include "moe/base/rng.h"
#include "moe/kernels/cpu/ceilings.h"
#include "moe/kernels/kernels.h"
#include "moe/nn/init.h"
#include "moe/optim/grad_norm.h"
#include "moe/optim/optimizer.h"
#include "moe/study/shapes.h"

namespace moe {
namespace {

void fill(const Tensor& t, uint64_t key) {
  const RngStream draws(3, key, "bench.values");
  int64_t i = 0;
  for (float& x : t.data<float>()) x = float(draws.uniform(i++, 0)) - 0.5f;
}

// Median seconds of f over about half a second, samples of the peak between the runs.
struct Measured {
  double seconds, peak_flop_per_second;
};
Measured measure(const Ceilings& ceilings, const std::function<void()>& f) {
  f();
  const double once = std::max(1e-7, seconds_of(f));
  const int repeats = std::max(1, int(1e-3 / once)),
            samples = std::clamp(int(0.4 / (once * repeats)), 5, 60);
  std::vector<double> seconds;
  double peak = 0;
  for (int i = 0; i < samples; ++i) {
    for (int j = 0; j < 10; ++j) peak = std::max(peak, ceilings.multiply_add_sample());
    seconds.push_back(seconds_of([&] {
                        for (int j = 0; j < repeats; ++j) f();
                      }) /
                      repeats);
  }
  return {median(seconds), peak};
}

struct Map {
  std::string name;
  int64_t experts, rows, out, in;
  Layout layout = Layout::panel16;
};

std::vector<Map> linear_maps(const ModelConfig& c, int64_t T) {
  const int64_t D = c.d_model, A = c.head_dim;
  const Layout up = c.is_gated() ? Layout::panel16_gate_up : Layout::panel16;
  const int64_t wide = c.is_gated() ? 2 : 1;
  std::vector<Map> maps = {{"qkv", 1, T, (c.n_heads + 2 * c.n_kv_heads) * A, D},
                           {"o", 1, T, D, c.n_heads * A}};
  const std::vector<LayerConfig> layers = resolve_layers(c);
  const auto any = [&](bool moe) {
    return std::any_of(layers.begin(), layers.end(),
                       [&](const LayerConfig& l) { return l.moe == moe; });
  };
  if (any(false)) {
    maps.push_back({"up", 1, T, wide * c.d_ff, D, up});
    maps.push_back({"down", 1, T, D, c.d_ff});
  }
  if (any(true)) {
    const MoeConfig& m = c.moe;
    const int64_t R = T * std::min(m.top_k, m.n_experts);
    maps.push_back({"router", 1, T, m.n_experts, D});
    maps.push_back({str("up of ", m.n_experts, " experts"), m.n_experts, R, wide * m.d_ff, D, up});
    maps.push_back({str("down of ", m.n_experts, " experts"), m.n_experts, R, D, m.d_ff});
    if (m.n_shared_experts > 0) {
      const int64_t F = m.shared_d_ff > 0 ? m.shared_d_ff : m.n_shared_experts * m.d_ff;
      maps.push_back({"up, shared", 1, T, wide * F, D, up});
      maps.push_back({"down, shared", 1, T, D, F});
    }
  }
  maps.push_back({"head", 1, T, c.vocab_size, D});
  return maps;
}

}  // namespace

std::vector<KernelTime> bench_gemm(const BenchOptions& o) {
  const RunConfig config = shape_config(o.shape, o.overrides);
  const int64_t T = (o.batch > 0 ? o.batch : config.train.batch_size) * config.data.seq_len;
  const Kernels& k = kernels(DType::f32);
  const Ceilings ceilings(k.name);
  std::vector<KernelTime> out;
  for (const Map& map : linear_maps(config.model, T)) {
    const Tensor w = Tensor::zeros({map.experts, map.out, map.in}, DType::f32, map.layout);
    const Tensor x = Tensor::empty({map.rows, map.in}, DType::f32),
                 y = Tensor::empty({map.rows, w.panel_map().out_cols()}, DType::f32);
    fill(w, 1), fill(x, 2), fill(y, 3);
    std::vector<int32_t> offsets;
    for (int64_t e = 0; e <= map.experts; ++e)
      offsets.push_back(int32_t(map.rows * e / map.experts));
    const GroupedGemm g{.y = y.view(),
                        .x = x.view(),
                        .w = w.panels(),
                        .bias_EN = {},
                        .offsets_E1 = offsets,
                        .accumulate = false};
    const double flop = 2.0 * double(map.rows * map.out * map.in);
    const auto add = [&](const char* pass, void (*kernel)(const GroupedGemm&)) {
      const Measured m = measure(ceilings, [&] { kernel(g); });
      KernelTime t;
      t.name = map.name;
      t.pass = pass;
      t.seconds = m.seconds;
      t.gflop_per_second = flop / m.seconds * 1e-9;
      t.share_of_peak = flop / m.seconds / m.peak_flop_per_second;
      out.push_back(t);
    };
    add("forward", k.grouped_gemm);
    add("dx", k.grouped_gemm_dx);
    add("dw", k.grouped_gemm_dw);
  }
  return out;
}

std::vector<KernelTime> bench_optimizer(const BenchOptions& o) {
  const RunConfig config = shape_config(o.shape, o.overrides);
  TransformerLM model(config.model);
  initialize(model, 1);
  const std::vector<Parameter> parameters = model.parameters();
  double numbers = 0, matrix_flop = 0;
  for (const Parameter& p : parameters) {
    fill(p.var.grad(), 4);
    numbers += double(p.var.value().stored_numel());
    if (p.role != Role::matrix) continue;
    for (const Piece& piece :
         p.pieces) {  // five iterations of X X^T, A A, B X (Jordan et al. 2024)
      const Shape s = piece_shape(p, piece);
      if (s.rank() != 2) continue;
      const double n = double(std::min(s[0], s[1])), m = double(std::max(s[0], s[1]));
      matrix_flop += 5 * 2 * (2 * n * n * m + n * n * n);
    }
  }
  const Ceilings ceilings(kernels(DType::f32).name);
  const Tensor buffer = Tensor::zeros({int64_t(numbers) / 64 * 64}, DType::f32);
  std::vector<KernelTime> out;
  const auto add = [&](const char* name, double moves, double flop,
                       const std::function<void()>& f) {
    const Measured m = measure(ceilings, f);
    std::vector<double> bandwidth;
    for (int i = 0; i < 5; ++i)
      bandwidth.push_back(ceilings.read_sample(buffer.data<float>().data(), buffer.numel()));
    KernelTime t;
    t.name = name;
    t.pass = "step";
    t.seconds = m.seconds;
    t.gigabytes_per_second = moves * numbers * 4 / m.seconds * 1e-9;
    t.share_of_bandwidth = t.gigabytes_per_second / (median(bandwidth) * 1e-9);
    if (flop > 0) {
      t.gflop_per_second = flop / m.seconds * 1e-9;
      t.share_of_peak = flop / m.seconds / m.peak_flop_per_second;
    }
    out.push_back(t);
  };
  add("gradient norm", 1, 0, [&] { gradient_norm(parameters); });
  for (const char* name : {"adamw", "sgd", "muon"}) {
    OptimConfig optim = config.optim;
    optim.name = name;
    const std::unique_ptr<Optimizer> optimizer = make_optimizer(optim, parameters);
    // Reads weight, gradient and moments; writes weight and moments.
    const double moves = std::string(name) == "adamw" ? 7 : 5;
    add(name, moves, std::string(name) == "muon" ? matrix_flop : 0,
        [&] { optimizer->step(1e-6, 1.0); });
  }
  return out;
}

JsonObject to_json(const KernelTime& t) {
  JsonObject o = {{"name", t.name}, {"pass", t.pass}, {"seconds", t.seconds}};
  if (t.gflop_per_second > 0) {
    o["gflop_per_second"] = t.gflop_per_second;
    o["share_of_peak"] = t.share_of_peak;
  }
  if (t.gigabytes_per_second > 0) {
    o["gigabytes_per_second"] = t.gigabytes_per_second;
    o["share_of_bandwidth"] = t.share_of_bandwidth;
  }
  return o;
}

}  // namespace moe
