// SPDX-License-Identifier: MIT
// Fast attention is the reference's, bit for bit: every table, head layout, mask and bias, however
// the tokens arrive.
#include <gtest/gtest.h>

#include "attention_testing.h"
#include "tables.h"

namespace moe {
namespace {

using testing::AttentionCase;
using testing::AttentionGradients;
using testing::AttentionLayer;
using testing::AttentionOut;
using testing::Guarded;
using testing::KvCache;
using testing::PackedSequences;
using testing::run_backward;
using testing::run_forward;

int64_t differing(const float* a, const float* b, int64_t n) {
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) count += !testing::same_float(a[i], b[i]);
  return count;
}
int64_t differing(const Guarded<float>& a, const Guarded<float>& b) {
  return a.size() == b.size() ? differing(a.data(), b.data(), a.size()) : -1;
}
int64_t differing(const AttentionOut<float>& a, const AttentionOut<float>& b) {
  return differing(a.o, b.o) + differing(a.max, b.max) + differing(a.sum, b.sum);
}
int64_t differing(const AttentionGradients<float>& a, const AttentionGradients<float>& b) {
  return differing(a.dqkv, b.dqkv) + differing(a.dsink, b.dsink) +
         differing(a.dt5_table, b.dt5_table) + differing(a.dshaw_k, b.dshaw_k) +
         differing(a.dshaw_v, b.dshaw_v);
}

struct Threads {
  explicit Threads(int n) { set_threads(n); }
  ~Threads() { set_threads(0); }
};

void expect_equal_to_reference(const AttentionLayer<float>& layer) {
  const AttentionOut<float> want = run_forward(ref_kernels<float>(), layer);
  const AttentionGradients<float> want_gradients = run_backward(ref_kernels<float>(), layer, want);
  for (const Kernels* k : cpu_kernels()) {
    SCOPED_TRACE(str(k->name, " ", layer.what.text()));
    EXPECT_EQ(differing(run_forward(*k, layer), want), 0);
    EXPECT_EQ(differing(run_backward(*k, layer, want), want_gradients), 0);
  }
}

// Masks and biases, one by one and together.
AttentionCase with_option(AttentionCase c, int64_t option) {
  switch (option % 12) {
    case 1: c.window = 1; break;
    case 2: c.window = 17; break;
    case 3: c.window = 65; break;
    case 4: c.softcap = 3; break;
    case 5: c.sink = true; break;
    case 6: c.alibi = true; break;
    case 7: c.t5 = true; break;
    case 8: c.sink = true, c.softcap = 2, c.window = 65; break;
    case 9: c.alibi = true, c.t5 = true, c.softcap = 5, c.window = 17; break;
    case 10: c.sink = true, c.t5 = true, c.spread = 3; break;
    case 11: c.alibi = true, c.sink = true, c.window = 40; break;
    default: break;
  }
  return c;
}

constexpr int64_t kHeads[4][2] = {{1, 1}, {4, 2}, {6, 1}, {6, 6}};
constexpr int64_t kHeadDims[] = {1, 3, 12, 16, 17, 24, 64, 80, 128};

TEST(Attention, EveryTableEqualsReferenceForEveryHeadDimAndLength) {
  int64_t option = 0;
  for (int64_t dim = 0; dim < 9; ++dim)
    for (const int64_t n : {1, 3, 17, 63, 64, 65, 127, 200}) {
      const auto& heads = kHeads[option % 4];
      const Threads threads(1 + int(option % 3));
      expect_equal_to_reference(
          AttentionLayer<float>(with_option({.H = heads[0],
                                             .G = heads[1],
                                             .A = kHeadDims[dim],
                                             .Av = kHeadDims[(dim + option % 2) % 9],
                                             .n = n},
                                            option)));
      option += 5;  // meets all 12 options, all 4 head layouts and all 3 thread counts
    }
}

TEST(Attention, EveryTableEqualsReferenceForEveryOption) {
  for (int64_t option = 0; option < 12; ++option)
    for (const auto& heads : kHeads) {
      const Threads threads(1 + int(option % 3));
      expect_equal_to_reference(AttentionLayer<float>(
          with_option({.H = heads[0], .G = heads[1], .A = 20, .Av = 36, .n = 131}, option)));
    }
}

TEST(Attention, MoreHeadsInAGroupThanRowsInATile) {
  expect_equal_to_reference(AttentionLayer<float>({.H = 100, .G = 1, .A = 4, .Av = 4, .n = 70}));
  expect_equal_to_reference(AttentionLayer<float>({.H = 150, .G = 3, .A = 4, .Av = 4, .n = 5}));
}

TEST(Attention, RelativeKeysAndValuesOfShaw) {
  expect_equal_to_reference(
      AttentionLayer<float>({.H = 4, .G = 2, .A = 12, .Av = 7, .n = 70, .shaw = 9}));
}

TEST(Attention, TiesSignedZerosAndHugeScores) {
  for (const double spread : {0.0, 1e-25, 30.0, 1e18})
    for (const int64_t option : {0, 5, 8})
      expect_equal_to_reference(AttentionLayer<float>(
          with_option({.H = 4, .G = 2, .A = 16, .Av = 12, .n = 100, .spread = spread}, option)));
}

TEST(Attention, NanAndInfinityAmongTheInputs) {
  AttentionLayer<float> layer({.H = 2, .G = 2, .A = 8, .Av = 8, .n = 90, .sink = true});
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              inf = std::numeric_limits<float>::infinity();
  layer.q.at<float>(80, 3) = nan;
  for (int64_t j = 64; j < 80; ++j) layer.k.at<float>(j, 2) = nan;  // every lane of a vector
  layer.k.at<float>(30, 9) = inf;
  layer.k.at<float>(10, 12) = -inf;
  layer.v.at<float>(64, 1) = inf;
  expect_equal_to_reference(layer);
}

TEST(Attention, SegmentsBeyond1024Keys) {
  for (const AttentionCase& c :
       {AttentionCase{.H = 1, .G = 1, .A = 8, .Av = 8, .n = 1100},
        AttentionCase{.H = 2, .G = 1, .A = 8, .Av = 3, .n = 2100, .window = 1030, .sink = true},
        AttentionCase{
            .H = 1, .G = 1, .A = 3, .Av = 8, .n = 1090, .softcap = 4, .alibi = true, .t5 = true}})
    expect_equal_to_reference(AttentionLayer<float>(c));
}

TEST(Attention, PrefillEqualsChunksEqualsTokenByToken) {
  for (const int64_t option : {0, 3, 8, 9, 10}) {
    const AttentionLayer<float> layer(
        with_option({.H = 4, .G = 2, .A = 24, .Av = 16, .n = 150}, option));
    for (const Kernels* k : cpu_kernels()) {
      const AttentionOut<float> want = run_forward(*k, layer);
      for (const int64_t chunk : {1, 7, 64, 65})
        EXPECT_EQ(differing(run_forward(*k, layer, chunk), want), 0)
            << k->name << " chunk " << chunk << " " << layer.what.text();
    }
  }
}

TEST(Attention, ChunksAcrossASegmentBorderEqualPrefill) {
  const AttentionLayer<float> layer({.H = 2, .G = 1, .A = 8, .Av = 8, .n = 1090, .sink = true});
  for (const Kernels* k : cpu_kernels()) {
    const AttentionOut<float> want = run_forward(*k, layer);
    EXPECT_EQ(differing(run_forward(*k, layer, 37), want), 0) << k->name;
    EXPECT_EQ(differing(run_forward(*k, layer, 1000), want), 0) << k->name;
  }
}

// Three sequences in one call, each a different way into its own context, equal the same sequences
// alone.
TEST(Attention, PackedSequencesEqualEachAlone) {
  for (const int64_t option : {0, 3, 5, 9}) {
    const AttentionLayer<float> layer(
        with_option({.H = 6, .G = 2, .A = 17, .Av = 20, .n = 210}, option));
    struct Part {
      int64_t row, n, cached;
    };
    const Part parts[3] = {{0, 70, 69}, {70, 130, 0}, {200, 10, 4}};
    for (const Kernels* k : cpu_kernels())
      for (const int n_threads : {1, 2, 3}) {
        const Threads threads(n_threads);
        AttentionOut<float> packed(layer.what), alone(layer.what);
        std::vector<KvCache<float>> caches;
        std::vector<AttentionSequence> sequences;
        for (const Part& p : parts) {
          caches.emplace_back(layer.config, p.n);
          const AttentionSequence all{p.row, p.n, 0, caches.back().blocks()};
          k->kv_store({layer.k, layer.v, {&all, 1}, 2, 17, 20});
          k->attention_fwd(
              {alone.o_view, alone.max_view, alone.sum_view, layer.q, {&all, 1}, layer.config});
          // The first `cached` tokens of each were done in an earlier call.
          const AttentionSequence before{p.row, p.cached, 0, caches.back().blocks()};
          k->attention_fwd({packed.o_view,
                            packed.max_view,
                            packed.sum_view,
                            layer.q,
                            {&before, 1},
                            layer.config});
          sequences.push_back({p.row + p.cached, p.n - p.cached, p.cached, caches.back().blocks()});
        }
        k->attention_fwd(
            {packed.o_view, packed.max_view, packed.sum_view, layer.q, sequences, layer.config});
        EXPECT_EQ(differing(packed, alone), 0)
            << k->name << " threads " << n_threads << " " << layer.what.text();
      }
  }
}

TEST(Attention, PackedGradientsEqualReference) {
  for (const int64_t option : {0, 3, 9, 10}) {
    const AttentionLayer<float> layer(
        with_option({.H = 4, .G = 2, .A = 12, .Av = 16, .n = 210}, option));
    const AttentionCase& w = layer.what;
    auto run = [&](const Kernels& k) {
      const std::vector<int64_t> lengths = {0, 70, 1, 139};
      const PackedSequences<float> packed(k, layer, lengths);
      const AttentionOut<float> out(w);
      k.attention_fwd(
          {out.o_view, out.max_view, out.sum_view, layer.q, packed.sequences, layer.config});
      AttentionGradients<float> g(layer);
      run_backward(k, layer, lengths, out, g);
      return g;
    };
    const AttentionGradients<float> want = run(ref_kernels<float>());
    for (const Kernels* k : cpu_kernels())
      for (const int n_threads : {1, 2, 3}) {
        const Threads threads(n_threads);
        EXPECT_EQ(differing(run(*k), want), 0)
            << k->name << " threads " << n_threads << " " << w.text();
      }
  }
}

TEST(Attention, GradientsDoNotDependOnThreads) {  // one kv head: key blocks and query tiles are
                                                  // split; many: they are not
  for (const auto& heads : kHeads) {
    const AttentionLayer<float> layer(
        {.H = heads[0], .G = heads[1], .A = 32, .Av = 32, .n = 260, .window = 150, .sink = true});
    for (const Kernels* k : cpu_kernels()) {
      const AttentionOut<float> out = run_forward(*k, layer);
      const Threads one(1);
      const AttentionGradients<float> want = run_backward(*k, layer, out);
      for (const int n_threads : {2, 3, 4}) {
        const Threads threads(n_threads);
        EXPECT_EQ(differing(run_forward(*k, layer), out), 0) << k->name;
        EXPECT_EQ(differing(run_backward(*k, layer, out), want), 0)
            << k->name << " threads " << n_threads << " H " << heads[0];
      }
    }
  }
}

TEST(Attention, AChangedTokenChangesNothingBeforeIt) {
  AttentionLayer<float> layer(
      {.H = 4, .G = 2, .A = 16, .Av = 16, .n = 140, .softcap = 4, .sink = true});
  for (const Kernels* k : cpu_kernels())
    for (const int64_t t : {0, 47, 63, 64, 100}) {
      const AttentionOut<float> before = run_forward(*k, layer);
      float& changed = layer.k.at<float>(t + 1, 3);
      const float old = changed;
      changed = 5e3f;
      const AttentionOut<float> after = run_forward(*k, layer);
      changed = old;
      const int64_t rows = before.o.size() / layer.what.n;
      EXPECT_EQ(differing(before.o.data(), after.o.data(), (t + 1) * rows), 0)
          << k->name << " token " << t;
      EXPECT_GT(differing(before.o, after.o), 0) << k->name << " token " << t;
    }
}

TEST(KvStore, EveryTableWritesTheSlotsOfItsTokensAndNothingElse) {
  const AttentionLayer<float> layer({.H = 2, .G = 2, .A = 19, .Av = 21, .n = 150});
  const auto chunks = {1, 5, 64, 70, 10};
  auto run = [&](const Kernels& kernels) {
    std::vector<Guarded<float>> pages;
    std::vector<void*> k, v;
    for (int b = 0; b < 3; ++b) {
      pages.emplace_back(2 * 19 * 64, -5.0f), k.push_back(pages.back().data());
      pages.emplace_back(2 * 32 * 64, -5.0f), v.push_back(pages.back().data());
    }
    int64_t t = 0;
    for (const int n : chunks) {
      const AttentionSequence s{t, n, t, {k.data(), v.data(), 19 * 64, 32 * 64}};
      kernels.kv_store({layer.k, layer.v, {&s, 1}, 2, 19, 21});
      t += n;
    }
    return pages;
  };
  const auto want = run(ref_kernels<float>());
  for (const Kernels* k : cpu_kernels()) {
    const auto got = run(*k);
    for (size_t page = 0; page < want.size(); ++page)
      EXPECT_EQ(differing(got[page], want[page]), 0) << k->name << " page " << page;
  }
}

}  // namespace
}  // namespace moe
