// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <numeric>

#include "moe/base/parallel.h"
#include "moe/base/rng.h"
#include "moe/kernels/cpu/ceilings.h"
#include "moe/kernels/kernels.h"
#include "moe/ops/attention.h"
#include "moe/study/bench_kernels.h"
#include "moe/study/shapes.h"
#include "moe/tensor/allocator.h"

namespace moe {
namespace {

struct Problem {
  int64_t B, S, H, G, A;
  Tensor qkv;  // [B * S, (H + 2 G) A]
  MatView q(int64_t b, int64_t h) const { return columns(b, h * A); }
  MatView k(int64_t b, int64_t g) const { return columns(b, (H + g) * A); }
  MatView v(int64_t b, int64_t g) const { return columns(b, (H + G + g) * A); }
  float scale() const { return float(1 / std::sqrt(double(A))); }

 private:
  MatView columns(int64_t b, int64_t begin) const {
    return qkv.rows(b * S, (b + 1) * S).view().columns(begin, A);
  }
};

// Rows [t0, t1) of softmax(q k^T) v with all their scores in memory, through the engine's products:
// keys as panels for the scores, values as panels of their transpose for the sum.
void attend_rows(const Problem& p, const Tensor& o, int64_t b, int64_t h, int64_t t0, int64_t t1) {
  const Kernels& kernel = kernels(DType::f32);
  const int64_t g = h / (p.H / p.G), n_keys = t1;
  const MatView key = p.k(b, g), value = p.v(b, g);
  const Tensor keys = Tensor::zeros({n_keys, p.A}, DType::f32, Layout::panel16),
               values = Tensor::zeros({p.A, n_keys}, DType::f32, Layout::panel16),
               scores = Tensor::empty({t1 - t0, n_keys}, DType::f32),
               probs = Tensor::empty({t1 - t0, n_keys}, DType::f32);
  const PanelMap key_map = keys.panel_map(), value_map = values.panel_map();
  for (int64_t j = 0; j < n_keys; ++j)
    for (int64_t a = 0; a < p.A; ++a) {
      keys.data<float>()[size_t(key_map.offset(j, a))] = key.at<float>(j, a);
      values.data<float>()[size_t(value_map.offset(a, j))] = value.at<float>(j, a);
    }
  const int32_t rows[2] = {0, int32_t(t1 - t0)};
  kernel.grouped_gemm({.y = scores.view(),
                       .x = p.q(b, h).row_range(t0, t1),
                       .w = keys.panels(),
                       .bias_EN = {},
                       .offsets_E1 = rows});
  kernel.scale(scores.view(), scores.view(), p.scale());
  for (int64_t t = t0; t < t1; ++t)
    std::fill(scores.view().row<float>(t - t0) + t + 1, scores.view().row<float>(t - t0) + n_keys,
              -INFINITY);
  kernel.softmax_fwd(probs.view(), scores.view());
  kernel.grouped_gemm({.y = o.rows(b * p.S + t0, b * p.S + t1).view().columns(h * p.A, p.A),
                       .x = probs.view(),
                       .w = values.panels(),
                       .bias_EN = {},
                       .offsets_E1 = rows});
}

Tensor attend(const Problem& p, const std::string& impl) {
  if (impl == "flash") {
    ops::AttentionArgs args;
    args.H = p.H, args.G = p.G, args.A = p.A, args.Av = p.A,
    args.scale = 1 / std::sqrt(double(p.A));
    for (int64_t b = 0; b < p.B; ++b)
      args.spans.push_back({.row = b * p.S, .n = p.S, .position = 0, .kv = {}});
    return ops::attention(Var(p.qkv), args).value();
  }
  Tensor o = Tensor::empty({p.B * p.S, p.H * p.A}, DType::f32);
  const int64_t rows = impl == "naive" ? p.S : 48;
  for (int64_t b = 0; b < p.B; ++b)
    for (int64_t h = 0; h < p.H; ++h)
      for (int64_t t0 = 0; t0 < p.S; t0 += rows)
        attend_rows(p, o, b, h, t0, std::min(p.S, t0 + rows));
  return o;
}

}  // namespace

std::vector<AttentionTime> bench_attention(const BenchOptions& options,
                                           const std::vector<int64_t>& kv_heads,
                                           const std::vector<std::string>& impls) {
  const RunConfig config = shape_config(options.shape, options.overrides);
  const ModelConfig& c = config.model;
  const Ceilings ceilings(kernels(DType::f32).name);
  std::vector<AttentionTime> out;
  const std::vector<int64_t> all_G =
      kv_heads.empty() ? std::vector<int64_t>{c.n_kv_heads} : kv_heads;
  // Query heads: the model's number, or the next one that every number of kv heads divides.
  int64_t multiple = 1;
  for (const int64_t G : all_G) multiple = std::lcm(multiple, G);
  for (const int64_t G : all_G) {
    Problem p{.B = std::max<int64_t>(1, options.batch),
              .S = config.data.seq_len,
              .H = (c.n_heads + multiple - 1) / multiple * multiple,
              .G = G,
              .A = c.head_dim,
              .qkv = {}};
    p.qkv = Tensor::empty({p.B * p.S, (p.H + 2 * G) * p.A}, DType::f32);
    const RngStream draws(4, uint64_t(G), "bench.attention");
    int64_t i = 0;
    for (float& x : p.qkv.data<float>()) x = float(draws.normal(i++, 0));
    Tensor first;
    for (const std::string& impl : impls) {
      AttentionTime t;
      t.impl = impl;
      t.kv_heads = G;
      t.kv_cache_bytes = 2 * p.S * G * p.A * 4;
      reset_tensor_bytes_peak();
      const int64_t before = tensor_bytes_in_use();
      const Tensor o = attend(p, impl);
      t.scratch_bytes = tensor_bytes_peak() - before - o.stored_bytes();
      if (!first) first = o;
      for (int64_t x = 0; x < o.numel(); ++x)
        t.max_difference = std::max(
            t.max_difference,
            std::fabs(double(o.data<float>()[size_t(x)]) - double(first.data<float>()[size_t(x)])));
      std::vector<double> seconds;
      double peak = 0;
      for (int sample = 0; sample < 7; ++sample) {
        for (int j = 0; j < 10; ++j) peak = std::max(peak, ceilings.multiply_add_sample());
        seconds.push_back(seconds_of([&] { attend(p, impl); }));
      }
      t.seconds = median(seconds);
      const double flop = 4.0 * double(p.B * p.H * p.A) * double(p.S) * double(p.S + 1) / 2;
      t.share_of_peak = flop / t.seconds / peak;
      out.push_back(t);
    }
  }
  return out;
}

JsonObject to_json(const AttentionTime& t) {
  return {{"impl", t.impl},
          {"kv_heads", t.kv_heads},
          {"seconds", t.seconds},
          {"share_of_peak", t.share_of_peak},
          {"scratch_bytes", t.scratch_bytes},
          {"kv_cache_bytes", t.kv_cache_bytes},
          {"max_difference", t.max_difference}};
}

}  // namespace moe
