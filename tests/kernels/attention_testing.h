// SPDX-License-Identifier: MIT
// One attention layer with random operands, as the tests run it: operands cut out of a fused row,
// keys and values in blocks that hold NaN wherever nothing was stored, every buffer ending at a
// guard page.
#pragma once

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "moe/base/rng.h"
#include "moe/base/str.h"
#include "moe/kernels/kernels.h"

#include "guarded.h"

namespace moe::testing {

/// What a test varies; the operands follow from it.
struct AttentionCase {
  int64_t H = 1, G = 1, A = 4, Av = 4, n = 1, window = 0;
  double softcap = 0;
  bool sink = false, alibi = false, t5 = false;
  int64_t shaw = 0;   // clip distance of relative keys and values; 0: none
  double spread = 1;  // of q and k; 0: values in {-1, -0, +0, 1}, so ties and exact zeros
  double scale = 0.35;

  std::string text() const {
    return str("H", H, " G", G, " A", A, " Av", Av, " n", n, " window", window, " softcap", softcap,
               sink ? " sink" : "", alibi ? " alibi" : "", t5 ? " t5" : "", shaw ? " shaw" : "",
               " spread", spread);
  }
};

template <class T>
Guarded<T> random_numbers(int64_t size, std::string_view name, double spread = 1) {
  const RngStream rng(1, 0, name);
  Guarded<T> x(size);
  constexpr double kTies[4] = {-1, -0.0, 0.0, 1};
  for (int64_t i = 0; i < size; ++i)
    x[i] = T(spread == 0 ? kTies[rng.below(4, i, 0)] : rng.normal(i, 0) * spread);
  return x;
}

/// The blocks of one sequence, each page apart, in memory in another order than in the sequence.
template <class T>
class KvCache {
 public:
  KvCache(const AttentionConfig& c, int64_t n) {
    const int64_t blocks = (n + kKvBlock - 1) / kKvBlock;
    k_head_ = c.A * kKvBlock;
    v_head_ = kv_value_width(c.Av) * kKvBlock;
    const T nan = std::numeric_limits<T>::quiet_NaN();
    for (int64_t b = 0; b < 2 * blocks; ++b)
      pages_.emplace_back(c.G * (b % 2 ? v_head_ : k_head_), nan);
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t page =
          (b * 7 + 3) % blocks;  // 7 and the number of blocks used here have no common factor
      k_.push_back(pages_[size_t(2 * page)].data());
      v_.push_back(pages_[size_t(2 * page + 1)].data());
    }
  }
  KvBlocks blocks() const { return {k_.data(), v_.data(), k_head_, v_head_}; }

 private:
  std::vector<Guarded<T>> pages_;
  std::vector<void*> k_, v_;
  int64_t k_head_, v_head_;
};

template <class T>
struct AttentionLayer {
  AttentionCase what;
  AttentionConfig config;
  Guarded<T> qkv, dout, sink, slopes, t5_table, shaw_k, shaw_v;
  std::vector<int32_t> buckets;
  MatView q, k, v, do_;

  explicit AttentionLayer(const AttentionCase& w) : what(w) {
    const int64_t H = w.H, G = w.G, row = H * w.A + G * (w.A + w.Av);
    qkv = random_numbers<T>(w.n * row, "q k v of a layer", w.spread);
    dout = random_numbers<T>(w.n * (H * w.Av + 5), "do");
    sink = random_numbers<T>(H, "sink", 2);
    slopes = random_numbers<T>(H, "slopes", 0.1);
    t5_table = random_numbers<T>(5 * H, "t5 table");
    buckets = {0, 1, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4};
    const MatView all = qkv.view(w.n, row, row);
    q = all.columns(0, H * w.A);
    k = all.columns(H * w.A, G * w.A);
    v = all.columns((H + G) * w.A, G * w.Av);
    do_ = dout.view(w.n, H * w.Av, H * w.Av + 5);
    config.H = H, config.G = G, config.A = w.A, config.Av = w.Av;
    config.scale = w.scale, config.window = w.window, config.softcap = w.softcap;
    if (w.sink) config.sink_H = sink.view(1, H, H);
    if (w.alibi) config.alibi_slopes_H = slopes.view(1, H, H);
    if (w.t5) config.t5_table_UH = t5_table.view(5, H, H), config.t5_bucket_of_distance = buckets;
    if (w.shaw) {
      const int64_t rows = 2 * w.shaw + 1;
      shaw_k = random_numbers<T>(rows * w.A, "shaw k");
      shaw_v = random_numbers<T>(rows * w.Av, "shaw v");
      config.shaw_k_CA = shaw_k.view(rows, w.A, w.A);
      config.shaw_v_CA = shaw_v.view(rows, w.Av, w.Av);
    }
  }
};

template <class T>
struct AttentionOut {
  Guarded<T> o, max, sum;  // rows of o: 3 untouched columns, then H * Av
  MatView o_view, max_view, sum_view;
  explicit AttentionOut(const AttentionCase& w)
      : o(w.n * (w.H * w.Av + 3), T(-77)),
        max(w.n * w.H),
        sum(w.n * w.H),
        o_view(o.view(w.n, w.H * w.Av, w.H * w.Av + 3)),
        max_view(max.view(w.n, w.H, w.H)),
        sum_view(sum.view(w.n, w.H, w.H)) {}
};

/// Stores and attends to tokens [position, position + n) of the layer's sequence.
template <class T>
void run_chunk(const Kernels& kernels, const AttentionLayer<T>& layer, const KvCache<T>& cache,
               int64_t position, int64_t n, const AttentionOut<T>& out) {
  const AttentionSequence s{position, n, position, cache.blocks()};
  kernels.kv_store({layer.k, layer.v, {&s, 1}, layer.config.G, layer.config.A, layer.config.Av});
  kernels.attention_fwd({out.o_view, out.max_view, out.sum_view, layer.q, {&s, 1}, layer.config});
}

/// The whole sequence in chunks; chunk 0: at once.
template <class T>
AttentionOut<T> run_forward(const Kernels& kernels, const AttentionLayer<T>& layer,
                            int64_t chunk = 0) {
  const int64_t n = layer.what.n;
  const KvCache<T> cache(layer.config, n);
  AttentionOut<T> out(layer.what);
  for (int64_t t = 0; t<n; t += chunk> 0 ? chunk : n)
    run_chunk(kernels, layer, cache, t, chunk > 0 ? std::min(chunk, n - t) : n, out);
  return out;
}

/// Sequences of the given lengths, packed into the rows of the layer, their keys and values stored.
template <class T>
struct PackedSequences {
  std::vector<KvCache<T>> caches;
  std::vector<AttentionSequence> sequences;

  PackedSequences(const Kernels& kernels, const AttentionLayer<T>& layer,
                  const std::vector<int64_t>& lengths) {
    int64_t row = 0;
    for (const int64_t n : lengths) {
      caches.emplace_back(layer.config, n);
      sequences.push_back({row, n, 0, caches.back().blocks()});
      row += n;
    }
    kernels.kv_store(
        {layer.k, layer.v, sequences, layer.config.G, layer.config.A, layer.config.Av});
  }
};

template <class T>
struct AttentionGradients {
  Guarded<T> dqkv, dsink, dt5_table, dshaw_k, dshaw_v;

  /// Random ones: a kernel that starts from zero instead of going on fails.
  explicit AttentionGradients(const AttentionLayer<T>& layer)
      : dqkv(random_numbers<T>(layer.qkv.size(), "dqkv")),
        dsink(random_numbers<T>(layer.sink.size(), "dsink")),
        dt5_table(random_numbers<T>(layer.t5_table.size(), "dt5")),
        dshaw_k(random_numbers<T>(layer.shaw_k.size(), "dshaw k")),
        dshaw_v(random_numbers<T>(layer.shaw_v.size(), "dshaw v")) {}
};

/// Adds the gradients of sum(o * do).
template <class T>
void run_backward(const Kernels& kernels, const AttentionLayer<T>& layer,
                  const std::vector<int64_t>& lengths, const AttentionOut<T>& out,
                  const AttentionGradients<T>& g) {
  const AttentionCase& w = layer.what;
  const PackedSequences<T> packed(kernels, layer, lengths);
  const MatView all = g.dqkv.view(w.n, layer.q.stride, layer.q.stride);
  const Guarded<T> delta(w.n * w.H), rsum(w.n * w.H);
  AttentionBackward b;
  b.dq = all.columns(0, w.H * w.A);
  b.dk = all.columns(w.H * w.A, w.G * w.A);
  b.dv = all.columns((w.H + w.G) * w.A, w.G * w.Av);
  if (w.sink) b.dsink_H = g.dsink.view(1, w.H, w.H);
  if (w.t5) b.dt5_table_UH = g.dt5_table.view(5, w.H, w.H);
  if (w.shaw) {
    b.dshaw_k_CA = g.dshaw_k.view(2 * w.shaw + 1, w.A, w.A);
    b.dshaw_v_CA = g.dshaw_v.view(2 * w.shaw + 1, w.Av, w.Av);
  }
  b.do_ = layer.do_;
  b.o = out.o_view, b.max_TH = out.max_view, b.sum_TH = out.sum_view;
  b.q = layer.q;
  b.delta_TH = delta.view(w.n, w.H, w.H), b.rsum_TH = rsum.view(w.n, w.H, w.H);
  b.sequences = packed.sequences;
  b.config = layer.config;
  kernels.attention_bwd(b);
}
template <class T>
AttentionGradients<T> run_backward(const Kernels& kernels, const AttentionLayer<T>& layer,
                                   const AttentionOut<T>& out) {
  AttentionGradients<T> g(layer);
  run_backward(kernels, layer, {layer.what.n}, out, g);
  return g;
}

}  // namespace moe::testing
