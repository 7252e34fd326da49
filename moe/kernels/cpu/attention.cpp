// SPDX-License-Identifier: MIT
// Fast exact attention, forward: tiles of up to 48 (query, head) rows of one kv head against key
// blocks of 64, online softmax in the block and segment order of docs/NUMERICS.md (the same bits as
// kernels/ref/attention.cpp). Rows of a tile are queries times the heads of the group, so that K
// and F32Vec are read once for all of them. Threads take tiles; no sum is split.
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moe/kernels/cpu/attention.cpp"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#include "hwy/foreach_target.h"
// After foreach_target.h, which includes this file again.
#include "moe/kernels/cpu/attention-inl.h"
#include "moe/kernels/cpu/frame.h"

#include "hwy/cache_control.h"

#ifndef MOE_KERNELS_CPU_ATTENTION_CPP_TYPES_
#define MOE_KERNELS_CPU_ATTENTION_CPP_TYPES_
namespace moe {
namespace {

/// Queries [t0, t1) of a sequence x query heads [h0, h0 + heads), which share one kv head: at most
/// kAttentionRows rows.
struct AttentionItem {
  const AttentionSequence* sequence;
  int64_t h0, heads, t0, t1;
};

}  // namespace
}  // namespace moe
#endif

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {
namespace {

constexpr int kRowPad = kAttentionRows + 16;  // arrays of rows are worked on in whole vectors

// Row i of a tile is query t0 + i / heads, head h0 + i % heads, so first and last visible key never
// fall with i.
struct Tile {
  int n, depth, width;  // rows; head dim of q; padded row width of a value block
  int64_t head[kAttentionRows];
  int64_t lo[kAttentionRows], hi[kAttentionRows];  // row i sees keys [lo, hi) and is query hi - 1
  int begin[kAttentionRows], end[kAttentionRows];  // the same, inside the present block
  float m[kRowPad], l[kRowPad];                    // state: maximum, sum
  float m_seg[kRowPad], l_seg[kRowPad];            // state of the present segment
  float block_max[kRowPad], c[kRowPad];
  float *q, *acc, *acc_seg, *s, *lane;  // [n][depth], [n][width], [n][width], [n][64], [n][16]
};

// Decode waits for memory: values come while keys are multiplied, the next keys while values are
// (+20 % where the cache does not fit the last level, bench/attention.cpp). A tile of prefill reads
// each line often enough.
constexpr int kFewRows = 8;
inline void prefetch(const float* p, int64_t n) {
  for (int64_t i = 0; i < n; i += 16) hwy::Prefetch(p + i);
}

// Rows [r0, r1) of the tile go on to the block whose first key is j0. next_k: of the block after
// it, or null.
template <bool kCap, bool kBias>
void run_block(Tile& t, const AttentionConfig& config, const T5BiasRows& t5, int r0, int r1,
               int64_t j0, const float* k, const float* v, const float* next_k) {
  const F32 d;
  const bool few_rows = r1 - r0 <= kFewRows;
  if (few_rows) prefetch(v, kKeys * t.width);
  for (int i = r0; i < r1; ++i) {
    t.begin[i] = int(std::max<int64_t>(t.lo[i] - j0, 0));
    t.end[i] = int(std::min<int64_t>(t.hi[i] - j0, kKeys));
  }
  block_dots(r1 - r0, t.begin + r0, t.end + r0, t.depth, t.q + r0 * t.depth, t.depth, k,
             t.s + r0 * kKeys);
  for (int i = r0; i < r1; ++i) {
    float* s = t.s + i * kKeys;
    const ScoreMap map(config, t5, t.head[i]);
    const int64_t first_minus_query = j0 - (t.hi[i] - 1);
    F32Vec best = minus_inf(), unused = best;
    for (int64_t j = t.begin[i] & ~15; j < t.end[i]; j += kLanes) {
      F32Vec x = score<kCap, kBias>(map, load(s + j), first_minus_query + j, unused);
      if (j < t.begin[i] || j + kLanes > t.end[i]) {
        const F32Vec key = hn::Iota(d, float(j));
        x = hn::IfThenElse(hn::And(hn::Ge(key, broadcast(float(t.begin[i]))),
                                   hn::Lt(key, broadcast(float(t.end[i])))),
                           x, minus_inf());
      }
      save(x, s + j);
      best = larger(x, best);
    }
    t.block_max[i] = hn::GetLane(hn::MaxOfLanes(d, best));
  }
  for (int64_t i = r0; i < r1;
       i += kLanes) {  // + 0: the sign of max(+0, -0) depends on the order, that of +0 does not
    const F32Vec old = load(t.m_seg + i),
                 now = hn::Add(larger(load(t.block_max + i), old), hn::Zero(d));
    save(Exp(d, hn::Sub(old, now)), t.c + i);
    save(now, t.block_max + i);
  }
  for (int i = r0; i < r1; ++i) {
    float *s = t.s + i * kKeys, *lane = t.lane + i * 16, *acc = t.acc_seg + i * t.width;
    const F32Vec now = broadcast(t.m_seg[i] = t.block_max[i]), c = broadcast(t.c[i]);
    LaneArray sum;
    for (int64_t x = 0; x < kLaneVectors; ++x) sum[x] = hn::Mul(load(lane + x * kLanes), c);
    // A masked lane adds +0, which changes nothing: a lane is +0, positive or NaN, never -0.
    for (int64_t j = t.begin[i] & ~15; j < t.end[i]; j += 16)
      for (int64_t x = 0; x < kLaneVectors; ++x) {
        float* at = s + j + x * kLanes;
        const F32Vec p = j + x * kLanes < t.end[i] ? Exp(d, hn::Sub(load(at), now)) : hn::Zero(d);
        save(p, at);
        sum[x] = hn::Add(sum[x], p);
      }
    for (int64_t x = 0; x < kLaneVectors; ++x) save(sum[x], lane + x * kLanes);
    if (t.c[i] != 1.0f)  // x * 1 is x
      for (int64_t a = 0; a < t.width; a += kLanes) save(hn::Mul(load(acc + a), c), acc + a);
  }
  if (few_rows && next_k) prefetch(next_k, kKeys * t.depth);
  ragged_chain<false>(r1 - r0, t.begin + r0, t.end + r0, t.s + r0 * kKeys, kKeys, v, t.width,
                      t.acc_seg + r0 * t.width, t.width, t.width);
}

// The state of rows [r0, r1) takes the segment they have just finished.
inline void merge_segment(Tile& t, int r0, int r1) {
  const F32 d;
  for (int i = r0; i < r1; ++i) {
    LaneArray lane;
    for (int64_t x = 0; x < kLaneVectors; ++x) lane[x] = load(t.lane + i * 16 + x * kLanes);
    t.l_seg[i] = fold(lane);
  }
  for (int64_t i = r0; i < r1; i += kLanes) {
    const F32Vec m = load(t.m + i), m_seg = load(t.m_seg + i),
                 now = hn::Add(larger(m_seg, m), hn::Zero(d));
    const F32Vec old = Exp(d, hn::Sub(m, now)), add = Exp(d, hn::Sub(m_seg, now));
    save(hn::MulAdd(load(t.l_seg + i), add, hn::Mul(load(t.l + i), old)), t.l_seg + i);
    save(now, t.m_seg + i);
    save(old, t.c + i);
    save(add, t.block_max + i);
  }
  for (int i = r0; i < r1; ++i) {
    t.m[i] = t.m_seg[i];
    t.l[i] = t.l_seg[i];
    const F32Vec old = broadcast(t.c[i]), add = broadcast(t.block_max[i]);
    float *acc = t.acc + i * t.width, *acc_seg = t.acc_seg + i * t.width;
    for (int64_t a = 0; a < t.width; a += kLanes)
      save(hn::MulAdd(load(acc_seg + a), add, hn::Mul(load(acc + a), old)), acc + a);
  }
}

inline void start_segment(Tile& t, int r0, int r1) {
  for (int i = r0; i < r1; ++i) t.m_seg[i] = -std::numeric_limits<float>::infinity();
  std::fill(t.lane + r0 * 16, t.lane + r1 * 16, 0.0f);
  std::fill(t.acc_seg + r0 * t.width, t.acc_seg + r1 * t.width, 0.0f);
}

template <bool kCap, bool kBias>
void run_item(const AttentionForward& f, const T5BiasRows& t5, const AttentionItem& item) {
  const AttentionConfig& c = f.config;
  const AttentionSequence& s = *item.sequence;
  const int64_t kv_head = item.h0 / (c.H / c.G);
  Tile t{};
  t.n = int((item.t1 - item.t0) * item.heads);
  t.depth = int(c.A);
  t.width = int(kv_value_width(c.Av));
  // acc first: its rows and those of s and lane stay aligned to 16 floats.
  t.acc = thread_scratch(int64_t(t.n) * (2 * t.width + kKeys + 16 + t.depth));
  t.acc_seg = t.acc + t.n * t.width;
  t.s = t.acc_seg + t.n * t.width;
  t.lane = t.s + t.n * kKeys;
  t.q = t.lane + t.n * 16;
  for (int i = 0; i < t.n; ++i) {
    const int64_t h = item.h0 + i % item.heads, query = item.t0 + i / item.heads,
                  position = s.position + query;
    t.head[i] = h;
    t.lo[i] = first_visible_key(c, position);
    t.hi[i] = position + 1;
    t.m[i] = c.sink_H ? c.sink_H.at<float>(0, h) : -std::numeric_limits<float>::infinity();
    std::memcpy(t.q + i * t.depth, f.q.row<float>(s.row + query) + h * c.A,
                size_t(c.A) * sizeof(float));
  }
  std::fill(t.acc, t.acc + t.n * t.width, 0.0f);

  const auto keys_of = [&](int64_t b) {
    return static_cast<const float*>(s.kv.k[b]) + kv_head * s.kv.k_head_stride;
  };
  // Rows [s0, s1) see the present segment, rows [r0, r1) the present block; for the others it does
  // not exist.
  for (int64_t first = t.lo[0] / kKvSegment * kKvSegment; first < t.hi[t.n - 1];
       first += kKvSegment) {
    int s0 = 0;
    while (t.hi[s0] <= first) ++s0;
    int s1 = s0;
    while (s1 < t.n && t.lo[s1] < first + kKvSegment) ++s1;
    start_segment(t, s0, s1);
    const int64_t end = std::min(first + kKvSegment, t.hi[s1 - 1]);
    int r0 = s0, r1 = s0;
    for (int64_t b = std::max(first, t.lo[s0]) / kKvBlock; b * kKvBlock < end; ++b) {
      while (t.hi[r0] <= b * kKvBlock) ++r0;
      while (r1 < s1 && t.lo[r1] < (b + 1) * kKvBlock) ++r1;
      const float* next_k = (b + 1) * kKvBlock < end ? keys_of(b + 1) : nullptr;
      const float* v = static_cast<const float*>(s.kv.v[b]) + kv_head * s.kv.v_head_stride;
      run_block<kCap, kBias>(t, c, t5, r0, r1, b * kKvBlock, keys_of(b), v, next_k);
    }
    merge_segment(t, s0, s1);
  }

  for (int i = 0; i < t.n; ++i) {
    const int64_t row = s.row + item.t0 + i / item.heads, h = t.head[i];
    float l = t.l[i];
    if (c.sink_H) l = l + exp_(c.sink_H.at<float>(0, h) - t.m[i]);
    f.max_TH.at<float>(row, h) = t.m[i];
    f.sum_TH.at<float>(row, h) = l;
    float* o = f.o.row<float>(row) + h * c.Av;
    const float* acc = t.acc + i * t.width;
    for_each_vector(0, c.Av,
                    [&](auto at) HWY_ATTR { at.store(hn::Div(at.load(acc), broadcast(l)), o); });
  }
}

void attention_fwd(const AttentionForward& f) {
  const AttentionConfig& c = f.config;
  // Shaw's relative positions give every (query, key) pair its own key and value operand, so
  // nothing is shared by a tile. They are a historical option of small models: the reference serves
  // them.
  if (c.shaw_k_CA || c.shaw_v_CA) return ref_kernels<float>().attention_fwd(f);
  thread_local std::vector<AttentionItem> kept_items;
  thread_local T5BiasRows kept_t5;
  std::vector<AttentionItem>& items = kept_items;
  T5BiasRows& t5 = kept_t5;
  items.clear();
  const int64_t group = c.H / c.G, heads = std::min<int64_t>(group, kAttentionRows),
                queries = kAttentionRows / heads;
  int64_t multiply_adds = 0, last_position = 0;
  for (const AttentionSequence& s : f.sequences) {
    multiply_adds +=
        s.n * (s.position + s.n - first_visible_key(c, s.position)) * c.H * (c.A + c.Av);
    last_position = std::max(last_position, s.position + s.n - 1);
    for (int64_t h = 0;
         h<c.H; h = (h + heads) / group> h / group ? (h / group + 1) * group : h + heads) {
      const int64_t heads_here = std::min(heads, (h / group + 1) * group - h);
      for (int64_t t1 = s.n; t1 > 0; t1 -= queries)  // the longest rows first: a queue ends level
        items.push_back({&s, h, heads_here, std::max<int64_t>(0, t1 - queries), t1});
    }
  }
  t5.fill(c, last_position);
  with_score_kind(c, [&](auto cap, auto bias) HWY_ATTR {
    for_each_attention_item(int64_t(items.size()), multiply_adds, [&](int64_t i) HWY_ATTR {
      run_item<cap.value, bias.value>(f, t5, items[size_t(i)]);
    });
  });
}

}  // namespace

void install_attention(Kernels& k) {
  k.attention_fwd = attention_fwd;
  k.attention_bwd = attention_bwd;
  k.kv_store = kv_store;
}

}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
namespace moe {
MOE_DEFINE_CPU_INSTALL(cpu_install_attention, install_attention)
}
#endif
