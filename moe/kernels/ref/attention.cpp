// SPDX-License-Identifier: MIT
// Exact causal attention, one (query, head) at a time, in the block order of docs/NUMERICS.md: key
// blocks of 64 and segments of 1,024 counted from the sequence's own position 0, so that the bits
// do not depend on batch, cache, chunking or threads. Online softmax: Milakov and Gimelshein 2018,
// arXiv:1805.02867. Sinks: gpt-oss. ALiBi: arXiv:2108.12409. T5: arXiv:1910.10683. Relative keys
// and values: Shaw et al. 2018, arXiv:1803.02155.
#include <algorithm>
#include <vector>

#include "moe/kernels/ref/ref.h"

namespace moe::ref {
namespace {

template <class T>
constexpr T kMinusInf = -std::numeric_limits<T>::infinity();

// One query row of one head against one sequence's keys: everything that is the same for all keys.
template <class T>
struct Query {
  const AttentionConfig& c;
  const AttentionSequence& s;
  int64_t head, position;
  const T* q;

  int64_t kv_head() const { return head / (c.H / c.G); }
  int64_t first_key() const {
    return c.window > 0 ? std::max<int64_t>(0, position + 1 - c.window) : 0;
  }
  const T* key(int64_t j) const {  // element a at [a * 64]
    return static_cast<const T*>(s.kv.k[j / kKvBlock]) + kv_head() * s.kv.k_head_stride +
           j % kKvBlock;
  }
  const T* value(int64_t j) const {
    return static_cast<const T*>(s.kv.v[j / kKvBlock]) + kv_head() * s.kv.v_head_stride +
           j % kKvBlock * kv_value_width(c.Av);
  }
  int64_t shaw_row(int64_t j) const {
    const int64_t clip = (c.shaw_k_CA ? c.shaw_k_CA.rows : c.shaw_v_CA.rows) / 2;
    return std::max(j - position, -clip) + clip;
  }
  int64_t t5_bucket(int64_t j) const {
    return c.t5_bucket_of_distance[size_t(
        std::min<int64_t>(position - j, int64_t(c.t5_bucket_of_distance.size()) - 1))];
  }
  /// The score of key j, >= first_key and <= position; *tanh_value receives the soft-cap's tanh.
  T score(int64_t j, T* tanh_value = nullptr) const {
    const T* k = key(j);
    T x = 0;
    for (int64_t a = 0; a < c.A; ++a) x = std::fma(q[a], k[a * kKvBlock], x);
    if (c.shaw_k_CA)
      for (int64_t a = 0; a < c.A; ++a) x = std::fma(q[a], c.shaw_k_CA.at<T>(shaw_row(j), a), x);
    x = x * T(c.scale);
    if (c.softcap > 0) {
      const T y = tanh_(x / T(c.softcap));
      if (tanh_value) *tanh_value = y;
      x = y * T(c.softcap);
    }
    if (c.alibi_slopes_H) x = x + c.alibi_slopes_H.at<T>(0, head) * T(j - position);
    if (c.t5_table_UH) x = x + c.t5_table_UH.at<T>(t5_bucket(j), head);
    return x;
  }
  T value_operand(int64_t j, int64_t a) const {
    return c.shaw_v_CA ? value(j)[a] + c.shaw_v_CA.at<T>(shaw_row(j), a) : value(j)[a];
  }
};

// Runs one segment [begin, end) of keys from m = -inf, l = 0, acc = 0.
template <class T>
void run_segment(const Query<T>& query, int64_t begin, int64_t end, T& m, T& l,
                 std::vector<T>& acc) {
  T lane[16] = {}, s[kKvBlock];
  m = kMinusInf<T>;
  std::fill(acc.begin(), acc.end(), T(0));
  for (int64_t j0 = begin; j0 < end;) {
    const int64_t j1 = std::min(end, (j0 / kKvBlock + 1) * kKvBlock);
    for (int64_t j = j0; j < j1; ++j) s[j - j0] = query.score(j);
    const T now = max_of_row(s, j1 - j0, m), c = exp_(m - now);
    for (T& x : lane) x = x * c;
    for (T& x : acc) x = x * c;
    for (int64_t j = j0; j < j1; ++j) {
      const T p = exp_(s[j - j0] - now);
      lane[j % 16] = lane[j % 16] + p;
      for (int64_t a = 0; a < query.c.Av; ++a)
        acc[size_t(a)] = std::fma(p, query.value_operand(j, a), acc[size_t(a)]);
    }
    m = now;
    j0 = j1;
  }
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lane[i] = lane[i] + lane[i + half];
  l = lane[0];
}

template <class T>
void attention_fwd(const AttentionForward& f) {
  const AttentionConfig& c = f.config;
  std::vector<T> acc(size_t(c.Av)), acc_seg(size_t(c.Av));
  for (const AttentionSequence& s : f.sequences)
    for (int64_t i = 0; i < s.n; ++i)
      for (int64_t h = 0; h < c.H; ++h) {
        const int64_t row = s.row + i;
        const Query<T> query{c, s, h, s.position + i, f.q.row<T>(row) + h * c.A};
        const T sink = c.sink_H ? c.sink_H.at<T>(0, h) : kMinusInf<T>;
        T m = sink, l = 0;
        std::fill(acc.begin(), acc.end(), T(0));
        for (int64_t begin = query.first_key(); begin <= query.position;) {
          const int64_t end = std::min(query.position + 1, (begin / kKvSegment + 1) * kKvSegment);
          T m_seg, l_seg;
          run_segment(query, begin, end, m_seg, l_seg, acc_seg);
          const T now = (m_seg > m ? m_seg : m) + T(0), old = exp_(m - now),
                  add = exp_(m_seg - now);
          l = std::fma(l_seg, add, l * old);
          for (int64_t a = 0; a < c.Av; ++a)
            acc[size_t(a)] = std::fma(acc_seg[size_t(a)], add, acc[size_t(a)] * old);
          m = now;
          begin = end;
        }
        if (c.sink_H) l = l + exp_(sink - m);
        f.max_TH.at<T>(row, h) = m;
        f.sum_TH.at<T>(row, h) = l;
        for (int64_t a = 0; a < c.Av; ++a) f.o.at<T>(row, h * c.Av + a) = acc[size_t(a)] / l;
      }
}

template <class T>
void attention_bwd(const AttentionBackward& b) {
  const AttentionConfig& c = b.config;
  for (const AttentionSequence& s : b.sequences)
    for (int64_t i = 0; i < s.n; ++i)
      for (int64_t h = 0; h < c.H; ++h) {
        const int64_t row = s.row + i;
        const T *dout = b.do_.row<T>(row) + h * c.Av, *out = b.o.row<T>(row) + h * c.Av;
        b.delta_TH.at<T>(row, h) =
            reduce_row<T>(c.Av, [&](T lane, int64_t a) { return std::fma(dout[a], out[a], lane); });
        b.rsum_TH.at<T>(row, h) = T(1) / b.sum_TH.at<T>(row, h);
      }
  // Chains: dq over keys ascending; dk, dv over heads of the group ascending, then queries; tables
  // over queries, keys, heads.
  auto pair = [&](const AttentionSequence& s, int64_t i, int64_t h, auto f) {
    const int64_t row = s.row + i;
    const Query<T> query{c, s, h, i, b.q.row<T>(row) + h * c.A};
    const T* dout = b.do_.row<T>(row) + h * c.Av;
    const T m = b.max_TH.at<T>(row, h), rsum = b.rsum_TH.at<T>(row, h),
            delta = b.delta_TH.at<T>(row, h);
    for (int64_t j = query.first_key(); j <= i; ++j) {
      T tanh_value = 0, dp = 0;
      const T p = exp_(query.score(j, &tanh_value) - m) * rsum;
      for (int64_t a = 0; a < c.Av; ++a) dp = std::fma(dout[a], query.value_operand(j, a), dp);
      const T dbias = p * (dp - delta);
      T ds = dbias;
      if (c.softcap > 0) ds = ds * std::fma(-tanh_value, tanh_value, T(1));
      ds = ds * T(c.scale);
      f(query, j, p, ds, dbias, dout);
    }
  };
  for (const AttentionSequence& s : b.sequences)
    for (int64_t h = 0; h < c.H; ++h)
      for (int64_t i = 0; i < s.n; ++i)
        pair(s, i, h, [&](const Query<T>& query, int64_t j, T p, T ds, T, const T* dout) {
          const int64_t g = query.kv_head();
          T *dq = b.dq.row<T>(s.row + i) + h * c.A, *dk = b.dk.row<T>(s.row + j) + g * c.A,
            *dv = b.dv.row<T>(s.row + j) + g * c.Av;
          const T* k = query.key(j);
          for (int64_t a = 0; a < c.A; ++a) {
            dq[a] = std::fma(ds, k[a * kKvBlock], dq[a]);
            if (c.shaw_k_CA) dq[a] = std::fma(ds, c.shaw_k_CA.at<T>(query.shaw_row(j), a), dq[a]);
            dk[a] = std::fma(ds, query.q[a], dk[a]);
          }
          for (int64_t a = 0; a < c.Av; ++a) dv[a] = std::fma(p, dout[a], dv[a]);
        });
  if (c.t5_table_UH)
    for (const AttentionSequence& s : b.sequences)
      for (int64_t h = 0; h < c.H; ++h)
        for (int64_t i = 0; i < s.n; ++i)
          pair(s, i, h, [&](const Query<T>& query, int64_t j, T, T, T dbias, const T*) {
            T& sum = b.dt5_table_UH.at<T>(query.t5_bucket(j), h);
            sum = sum + dbias;
          });
  if (c.sink_H)
    for (int64_t h = 0; h < c.H; ++h)
      for (const AttentionSequence& s : b.sequences)
        for (int64_t row = s.row; row < s.row + s.n; ++row) {
          const T p = exp_(c.sink_H.at<T>(0, h) - b.max_TH.at<T>(row, h)) * b.rsum_TH.at<T>(row, h);
          T& sum = b.dsink_H.at<T>(0, h);
          sum = std::fma(-p, b.delta_TH.at<T>(row, h), sum);
        }
  if (c.shaw_k_CA || c.shaw_v_CA)
    for (const AttentionSequence& s : b.sequences)
      for (int64_t i = 0; i < s.n; ++i) {
        // Heads are innermost: one pass per key over all heads of this query.
        struct One {
          T p, ds;
        };
        std::vector<One> pairs(size_t((i + 1) * c.H));
        int64_t first = i;
        for (int64_t h = 0; h < c.H; ++h)
          pair(s, i, h, [&](const Query<T>& query, int64_t j, T p, T ds, T, const T*) {
            first = query.first_key();
            pairs[size_t(j * c.H + h)] = {p, ds};
          });
        for (int64_t j = first; j <= i; ++j)
          for (int64_t h = 0; h < c.H; ++h) {
            const Query<T> query{c, s, h, i, b.q.row<T>(s.row + i) + h * c.A};
            const T* dout = b.do_.row<T>(s.row + i) + h * c.Av;
            const One& one = pairs[size_t(j * c.H + h)];
            if (c.shaw_k_CA)
              for (int64_t a = 0; a < c.A; ++a) {
                T& sum = b.dshaw_k_CA.at<T>(query.shaw_row(j), a);
                sum = std::fma(one.ds, query.q[a], sum);
              }
            if (c.shaw_v_CA)
              for (int64_t a = 0; a < c.Av; ++a) {
                T& sum = b.dshaw_v_CA.at<T>(query.shaw_row(j), a);
                sum = std::fma(one.p, dout[a], sum);
              }
          }
      }
}

template <class T>
void kv_store(const KvStore& st) {
  for (const AttentionSequence& s : st.sequences)
    for (int64_t i = 0; i < s.n; ++i) {
      const int64_t j = s.position + i, block = j / kKvBlock, slot = j % kKvBlock;
      for (int64_t g = 0; g < st.G; ++g) {
        T* k = static_cast<T*>(s.kv.k[block]) + g * s.kv.k_head_stride + slot;
        T* v =
            static_cast<T*>(s.kv.v[block]) + g * s.kv.v_head_stride + slot * kv_value_width(st.Av);
        for (int64_t a = 0; a < st.A; ++a) k[a * kKvBlock] = st.k.at<T>(s.row + i, g * st.A + a);
        for (int64_t a = 0; a < st.Av; ++a) v[a] = st.v.at<T>(s.row + i, g * st.Av + a);
      }
    }
}

}  // namespace

template <class T>
void install_attention(Kernels& k) {
  k.kv_store = kv_store<T>;
  k.attention_fwd = attention_fwd<T>;
  k.attention_bwd = attention_bwd<T>;
}
template void install_attention<float>(Kernels&);
template void install_attention<double>(Kernels&);

}  // namespace moe::ref
