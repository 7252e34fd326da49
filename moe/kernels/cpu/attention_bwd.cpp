// SPDX-License-Identifier: MIT
// Fast exact attention, backward: probabilities are computed again from the saved maximum and sum.
// dK and dV of a key block are chains over the heads of its group and their queries, dQ of a query
// is a chain over its keys (docs/NUMERICS.md; the same bits as kernels/ref/attention.cpp). All
// three from one visit of each (query tile, key block) pair where sequences and kv heads keep the
// threads busy; otherwise dK/dV by key block and dQ by query tile, which computes the probabilities
// twice.
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moe/kernels/cpu/attention_bwd.cpp"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#include "hwy/foreach_target.h"
// After foreach_target.h, which includes this file again.
#include "moe/kernels/cpu/attention-inl.h"
#include "moe/kernels/cpu/frame.h"

#ifndef MOE_KERNELS_CPU_ATTENTION_BWD_CPP_TYPES_
#define MOE_KERNELS_CPU_ATTENTION_BWD_CPP_TYPES_
namespace moe {
namespace {

/// Key blocks [b0, b1) x queries [t0, t1) of a sequence, for one kv head.
struct BackwardItem {
  const AttentionSequence* sequence;
  int64_t kv_head, b0, b1, t0, t1;
  bool dq, dkv;
};

constexpr int64_t kQueryTile =
    2 * kAttentionRows;  // of a dQ item: K and V blocks are transposed once for two tiles

/// Largest key block count of the keys that the queries [0, n) of a sequence see.
int64_t block_count(int64_t n) { return (n + kKvBlock - 1) / kKvBlock; }

void list_items(const AttentionBackward& b, std::vector<BackwardItem>& items) {
  const AttentionConfig& c = b.config;
  int64_t pairs = 0, pairs_of_longest = 0, count = 0;
  for (const AttentionSequence& s : b.sequences) {
    pairs += s.n * s.n;
    pairs_of_longest = std::max(pairs_of_longest, s.n * s.n);
    count += s.n > 0;
  }
  // One visit costs five products a pair, two visits seven. A thread's share of the first is at
  // least the longest (sequence, kv head), and at least its count of them at their mean length.
  const int64_t threads = n_threads(), tasks = count * c.G,
                rounds = (tasks + threads - 1) / threads;
  const double one_visit =
      5.0 * std::max(double(pairs_of_longest),
                     double(pairs) / double(std::max<int64_t>(count, 1)) * double(rounds));
  const bool together = one_visit <= 7.0 * double(pairs * c.G) / double(threads);
  items.clear();
  for (const AttentionSequence& s : b.sequences)
    for (int64_t g = 0; g < c.G; ++g) {
      const int64_t blocks = block_count(s.n);
      if (together) {
        if (s.n > 0) items.push_back({&s, g, 0, blocks, 0, s.n, true, true});
        continue;
      }
      for (int64_t k = 0; k < blocks; ++k) items.push_back({&s, g, k, k + 1, 0, s.n, false, true});
      for (int64_t t1 = s.n; t1 > 0; t1 -= kQueryTile) {
        const int64_t t0 = std::max<int64_t>(0, t1 - kQueryTile);
        items.push_back(
            {&s, g, first_visible_key(c, t0) / kKvBlock, block_count(t1), t0, t1, true, false});
      }
    }
}

/// dsink = -(exp(sink - m) / l) delta, one chain per head.
void sink_bwd(const AttentionBackward& b, int64_t h) {
  float& sum = b.dsink_H.at<float>(0, h);
  const float sink = b.config.sink_H.at<float>(0, h);
  for (const AttentionSequence& s : b.sequences)
    for (int64_t row = s.row; row < s.row + s.n; ++row) {
      const float p = exp_(sink - b.max_TH.at<float>(row, h)) * b.rsum_TH.at<float>(row, h);
      sum = std::fma(-p, b.delta_TH.at<float>(row, h), sum);
    }
}

}  // namespace
}  // namespace moe
#endif

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {
namespace {

constexpr int64_t padded(int64_t n) { return (n + 15) / 16 * 16; }

// rows x cols, pads of `to` set to 0 (they are multiplied along, and nobody reads the products).
void load_rows(float* to, int64_t width, const float* from, int64_t stride, int64_t rows,
               int64_t cols) {
  for (int64_t i = 0; i < rows; ++i) {
    std::memcpy(to + i * width, from + i * stride, size_t(cols) * sizeof(float));
    std::fill(to + i * width + cols, to + (i + 1) * width, 0.0f);
  }
}
void store_rows(float* to, int64_t stride, const float* from, int64_t width, int64_t rows,
                int64_t cols) {
  for (int64_t i = 0; i < rows; ++i)
    std::memcpy(to + i * stride, from + i * width, size_t(cols) * sizeof(float));
}

// sum(x * y).
float dot_of_row(const float* x, const float* y, int64_t n) {
  return reduce_row(
      n, [=](F32Vec sum, auto at) HWY_ATTR { return hn::MulAdd(at.load(x), at.load(y), sum); });
}

// n queries [q0, q0 + n) of one head against the key block whose first key is k0.
struct Pair {
  const AttentionSequence& s;
  int64_t head, q0, k0;
  int n;
  int begin[kAttentionRows], end[kAttentionRows];  // query i sees keys [begin, end) of the block

  Pair(const AttentionConfig& c, const AttentionSequence& sequence, int64_t h, int64_t query,
       int64_t key, int64_t count)
      : s(sequence), head(h), q0(query), k0(key), n(int(count)) {
    for (int i = 0; i < n; ++i) {
      end[i] = int(std::clamp<int64_t>(q0 + i + 1 - k0, 0, kKeys));
      begin[i] = int(std::clamp<int64_t>(first_visible_key(c, q0 + i) - k0, 0, end[i]));
    }
  }
};

// p[i][key] and ds[i][key] of a pair from q [n][ld_q], dout [n][ld_dout], k [A][64], v [Av][64].
// kTable: ds holds the gradient of the biased score, before soft-cap and scale. Entries under the
// mask hold anything, and nobody reads them.
template <bool kCap, bool kBias, bool kTable>
void pair_gradients(const AttentionBackward& b, const T5BiasRows& t5, const Pair& pair,
                    const float* q, int64_t ld_q, const float* dout, int64_t ld_dout,
                    const float* k, const float* v, float* p, float* ds) {
  const F32 d;
  const AttentionConfig& c = b.config;
  const ScoreMap map(c, t5, pair.head);
  block_dots(pair.n, pair.begin, pair.end, int(c.A), q, ld_q, k, p);
  block_dots(pair.n, pair.begin, pair.end, int(c.Av), dout, ld_dout, v, ds);
  for (int i = 0; i < pair.n; ++i, p += kKeys, ds += kKeys) {
    const int64_t row = pair.s.row + pair.q0 + i;
    const F32Vec m = broadcast(b.max_TH.at<float>(row, pair.head)),
                 rsum = broadcast(b.rsum_TH.at<float>(row, pair.head));
    const F32Vec delta = broadcast(b.delta_TH.at<float>(row, pair.head));
    for (int64_t j = pair.begin[i] & ~15; j < pair.end[i]; j += kLanes) {
      F32Vec tanh_value = m;
      const F32Vec x =
          score<kCap, kBias>(map, load(p + j), pair.k0 + j - (pair.q0 + i), tanh_value);
      const F32Vec e = hn::Mul(Exp(d, hn::Sub(x, m)), rsum);
      F32Vec g = hn::Mul(e, hn::Sub(load(ds + j), delta));
      if constexpr (!kTable) {
        if constexpr (kCap) g = hn::Mul(g, hn::NegMulAdd(tanh_value, tanh_value, broadcast(1.0f)));
        g = hn::Mul(g, broadcast(map.scale));
      }
      save(e, p + j);
      save(g, ds + j);
    }
  }
}

// Gradients live in memory, where their chains are cut and go on.
template <bool kCap, bool kBias>
void run_item(const AttentionBackward& b, const T5BiasRows& t5, const BackwardItem& item) {
  const AttentionConfig& c = b.config;
  const AttentionSequence& s = *item.sequence;
  const int64_t group = c.H / c.G, g = item.kv_head, ak = padded(c.A), av = kv_value_width(c.Av);
  float* q = thread_scratch((2 * kAttentionRows + 2 * kKeys) * ak +
                            (kAttentionRows + 2 * kKeys) * av + 2 * kAttentionRows * kKeys);
  float *dout = q + kAttentionRows * ak, *kt = dout + kAttentionRows * av, *vt = kt + kKeys * ak;
  float *p = vt + kKeys * av, *ds = p + kAttentionRows * kKeys;
  float *dk = ds + kAttentionRows * kKeys, *dv = dk + kKeys * ak, *dq_rows = dv + kKeys * av;
  std::fill(kt, kt + kKeys * ak, 0.0f);
  for (int64_t block = item.b0; block < item.b1; ++block) {
    const float* k = static_cast<const float*>(s.kv.k[block]) + g * s.kv.k_head_stride;
    const float* v = static_cast<const float*>(s.kv.v[block]) + g * s.kv.v_head_stride;
    const int64_t k0 = block * kKvBlock, first = std::max(item.t0, k0);
    const int64_t last = c.window > 0 ? std::min(item.t1, k0 + kKvBlock - 1 + c.window) : item.t1;
    const int keys = int(std::min(kKvBlock, s.n - k0));
    transpose(v, av, vt, kKeys, kKeys, int(c.Av));
    if (item.dq) transpose(k, kKeys, kt, ak, int(c.A), kKeys);
    if (item.dkv) {
      load_rows(dk, ak, b.dk.row<float>(s.row + k0) + g * c.A, b.dk.stride, keys, c.A);
      load_rows(dv, av, b.dv.row<float>(s.row + k0) + g * c.Av, b.dv.stride, keys, c.Av);
    }
    for (int64_t h = g * group; h < (g + 1) * group; ++h)
      for (int64_t q0 = first; q0 < last; q0 += kAttentionRows) {
        const Pair pair(c, s, h, q0, k0, std::min<int64_t>(kAttentionRows, last - q0));
        const int64_t row = s.row + q0;
        load_rows(q, ak, b.q.row<float>(row) + h * c.A, b.q.stride, pair.n, c.A);
        load_rows(dout, av, b.do_.row<float>(row) + h * c.Av, b.do_.stride, pair.n, c.Av);
        pair_gradients<kCap, kBias, false>(b, t5, pair, q, ak, dout, av, k, vt, p, ds);
        if (item.dq) {
          float* dq = b.dq.row<float>(row) + h * c.A;
          if (ak == c.A) {
            ragged_chain<false>(pair.n, pair.begin, pair.end, ds, kKeys, kt, ak, dq, b.dq.stride,
                                int(ak));
          } else {  // whole vectors would reach into the next head
            load_rows(dq_rows, ak, dq, b.dq.stride, pair.n, c.A);
            ragged_chain<false>(pair.n, pair.begin, pair.end, ds, kKeys, kt, ak, dq_rows, ak,
                                int(ak));
            store_rows(dq, b.dq.stride, dq_rows, ak, pair.n, c.A);
          }
        }
        if (!item.dkv) continue;
        int begin[kKeys], end[kKeys];  // key j is seen by queries [begin, end) of the tile
        for (int j = 0; j < keys; ++j) {
          begin[j] = int(std::clamp<int64_t>(k0 + j - q0, 0, pair.n));
          end[j] = c.window > 0 ? int(std::clamp<int64_t>(k0 + j + c.window - q0, begin[j], pair.n))
                                : pair.n;
        }
        ragged_chain<true>(keys, begin, end, p, kKeys, dout, av, dv, av, int(av));
        ragged_chain<true>(keys, begin, end, ds, kKeys, q, ak, dk, ak, int(ak));
      }
    if (item.dkv) {
      store_rows(b.dk.row<float>(s.row + k0) + g * c.A, b.dk.stride, dk, ak, keys, c.A);
      store_rows(b.dv.row<float>(s.row + k0) + g * c.Av, b.dv.stride, dv, av, keys, c.Av);
    }
  }
}

// One head's column of the T5 table: queries ascending, then keys, so strips of queries keep the
// gradients of all their keys.
template <bool kCap>
void t5_table_bwd(const AttentionBackward& b, const T5BiasRows& t5, int64_t h) {
  constexpr int64_t kStrip = 16;
  const AttentionConfig& c = b.config;
  const int64_t g = h / (c.H / c.G), av = kv_value_width(c.Av),
                last_distance = int64_t(c.t5_bucket_of_distance.size()) - 1;
  int64_t longest = 0;
  for (const AttentionSequence& s : b.sequences) longest = std::max(longest, s.n);
  float* vt = thread_scratch(kKeys * av + kStrip * kKeys * (1 + block_count(longest)));
  float *p = vt + kKeys * av, *strip = p + kStrip * kKeys;  // strip: [block][n][64]
  for (const AttentionSequence& s : b.sequences)
    for (int64_t q0 = 0; q0 < s.n; q0 += kStrip) {
      const int64_t n = std::min(kStrip, s.n - q0), b0 = first_visible_key(c, q0) / kKvBlock,
                    b1 = block_count(q0 + n);
      for (int64_t block = b0; block < b1; ++block) {
        transpose(static_cast<const float*>(s.kv.v[block]) + g * s.kv.v_head_stride, av, vt, kKeys,
                  kKeys, int(c.Av));
        const Pair pair(c, s, h, q0, block * kKvBlock, n);
        pair_gradients<kCap, true, true>(
            b, t5, pair, b.q.row<float>(s.row + q0) + h * c.A, b.q.stride,
            b.do_.row<float>(s.row + q0) + h * c.Av, b.do_.stride,
            static_cast<const float*>(s.kv.k[block]) + g * s.kv.k_head_stride, vt, p,
            strip + (block - b0) * n * kKeys);
      }
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = first_visible_key(c, q0 + i); j <= q0 + i; ++j) {
          float& sum = b.dt5_table_UH.at<float>(
              c.t5_bucket_of_distance[size_t(std::min(q0 + i - j, last_distance))], h);
          sum = sum + strip[((j / kKvBlock - b0) * n + i) * kKeys + j % kKvBlock];
        }
    }
}

}  // namespace

void attention_bwd(const AttentionBackward& b) {
  const AttentionConfig& c = b.config;
  if (c.shaw_k_CA || c.shaw_v_CA)
    return ref_kernels<float>().attention_bwd(b);  // as in attention_fwd
  thread_local std::vector<BackwardItem> kept_items;
  thread_local T5BiasRows kept_t5;
  std::vector<BackwardItem>& items = kept_items;
  T5BiasRows& t5 = kept_t5;
  int64_t pairs = 0, rows = 0, longest = 0;
  for (const AttentionSequence& s : b.sequences) {
    for_row_ranges(s.n, c.H * c.Av, [&](int64_t begin, int64_t end) HWY_ATTR {
      for (int64_t row = s.row + begin; row < s.row + end; ++row)
        for (int64_t h = 0; h < c.H; ++h) {
          b.delta_TH.at<float>(row, h) =
              dot_of_row(b.do_.row<float>(row) + h * c.Av, b.o.row<float>(row) + h * c.Av, c.Av);
          b.rsum_TH.at<float>(row, h) = 1.0f / b.sum_TH.at<float>(row, h);
        }
    });
    pairs += s.n * s.n / 2;
    rows += s.n;
    longest = std::max(longest, s.n);
  }
  t5.fill(c, longest - 1);
  list_items(b, items);
  const int64_t multiply_adds = pairs * c.H * (3 * c.A + 2 * c.Av);
  with_score_kind(c, [&](auto cap, auto bias) HWY_ATTR {
    for_each_attention_item(int64_t(items.size()), multiply_adds, [&](int64_t i) HWY_ATTR {
      run_item<cap.value, bias.value>(b, t5, items[size_t(i)]);
    });
    if constexpr (bias.value)
      if (c.t5_table_UH)
        for_each_attention_item(c.H, multiply_adds,
                                [&](int64_t h) HWY_ATTR { t5_table_bwd<cap.value>(b, t5, h); });
  });
  if (c.sink_H) for_each_attention_item(c.H, 16 * rows * c.H, [&](int64_t h) { sink_bwd(b, h); });
}

}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
