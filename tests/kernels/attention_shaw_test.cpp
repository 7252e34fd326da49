// SPDX-License-Identifier: MIT
// Relative keys and values (Shaw et al. 2018, arXiv:1803.02155) in the fast tables: the reference's
// bits for every shape, with every mask, on any threads, and however the tokens arrive.
#include <gtest/gtest.h>

#include "attention_testing.h"
#include "tables.h"

namespace moe::testing {
namespace {

void expect_same_out(const AttentionOut<float>& got, const AttentionOut<float>& want) {
  expect_same(got.o, want.o, "o");
  expect_same(got.max, want.max, "max");
  expect_same(got.sum, want.sum, "sum");
}
void expect_same_gradients(const AttentionGradients<float>& got,
                           const AttentionGradients<float>& want) {
  expect_same(got.dqkv, want.dqkv, "dqkv");
  expect_same(got.dsink, want.dsink, "dsink");
  expect_same(got.dt5_table, want.dt5_table, "dt5");
  expect_same(got.dshaw_k, want.dshaw_k, "dshaw k");
  expect_same(got.dshaw_v, want.dshaw_v, "dshaw v");
}

void expect_reference_on_any_threads(const AttentionCase& c) {
  SCOPED_TRACE(c.text());
  const AttentionLayer<float> layer(c);
  const AttentionOut<float> want = run_forward(ref_kernels<float>(), layer);
  const AttentionGradients<float> want_gradients = run_backward(ref_kernels<float>(), layer, want);
  for_each_table_and_threads([&](const Kernels& k) {
    expect_same_out(run_forward(k, layer), want);
    expect_same_gradients(run_backward(k, layer, want), want_gradients);
  });
}

// Masks that Shaw's terms meet.
AttentionCase with_mask(AttentionCase c, int64_t mask) {
  switch (mask % 6) {
    case 1: c.window = 5; break;
    case 2: c.sink = true; break;
    case 3: c.softcap = 3; break;
    case 4: c.window = 40, c.sink = true, c.softcap = 2; break;
    case 5: c.alibi = true, c.t5 = true, c.spread = 3; break;
    default: break;
  }
  return c;
}

TEST(ShawAttention, EveryShapeEqualsTheReferenceOnAnyThreads) {
  constexpr int64_t kHeads[4][2] = {{1, 1}, {4, 2}, {6, 1}, {3, 3}};
  int64_t i = 0;
  for (const int64_t A : {1, 3, 16, 17, 63, 65})
    for (const int64_t n : {1, 3, 17, 65, 127}) {
      const auto& heads = kHeads[i % 4];
      expect_reference_on_any_threads(with_mask({.H = heads[0],
                                                 .G = heads[1],
                                                 .A = A,
                                                 .Av = i % 2 ? A : 20,
                                                 .n = n,
                                                 .shaw = i % 3 == 0   ? 1
                                                         : i % 3 == 1 ? 9
                                                                      : 200},
                                                i));
      i += 5;  // meets all masks, head layouts and clip distances
    }
}

TEST(ShawAttention, EveryMaskEqualsTheReferenceOnAnyThreads) {
  for (int64_t mask = 0; mask < 6; ++mask)
    expect_reference_on_any_threads(
        with_mask({.H = 4, .G = 2, .A = 12, .Av = 7, .n = 130, .shaw = 9}, mask));
}

TEST(ShawAttention, PrefillEqualsChunksEqualsTokenByToken) {
  for (int64_t mask = 0; mask < 6; ++mask) {
    const AttentionLayer<float> layer(
        with_mask({.H = 4, .G = 2, .A = 17, .Av = 12, .n = 135, .shaw = 70}, mask));
    SCOPED_TRACE(layer.what.text());
    const AttentionOut<float> want = run_forward(ref_kernels<float>(), layer);
    for_each_table_and_threads([&](const Kernels& k) {
      for (const int64_t chunk : {1, 7, 64, 65}) {
        SCOPED_TRACE(str("chunk ", chunk));
        expect_same_out(run_forward(k, layer, chunk), want);
      }
    });
  }
}

// Beyond 1,024 keys the softmax runs in segments.
TEST(ShawAttention, SegmentsBeyond1024KeysEqualTheReference) {
  const AttentionLayer<float> layer(
      {.H = 2, .G = 1, .A = 4, .Av = 5, .n = 1060, .sink = true, .shaw = 30});
  const AttentionOut<float> want = run_forward(ref_kernels<float>(), layer);
  for_each_table([&](const Kernels& k) {
    expect_same_out(run_forward(k, layer), want);
    expect_same_out(run_forward(k, layer, 500), want);
    expect_same_gradients(run_backward(k, layer, want),
                          run_backward(ref_kernels<float>(), layer, want));
  });
}

TEST(ShawAttention, PackedSequencesEqualTheReference) {
  const AttentionLayer<float> layer(
      {.H = 4, .G = 2, .A = 12, .Av = 16, .n = 150, .window = 33, .sink = true, .shaw = 20});
  const std::vector<int64_t> lengths = {0, 70, 1, 79};
  const auto run = [&](const Kernels& k) {
    const PackedSequences<float> packed(k, layer, lengths);
    AttentionOut<float> out(layer.what);
    k.attention_fwd(
        {out.o_view, out.max_view, out.sum_view, layer.q, packed.sequences, layer.config});
    AttentionGradients<float> g(layer);
    run_backward(k, layer, lengths, out, g);
    return std::pair(std::move(out), std::move(g));
  };
  const auto [want, want_gradients] = run(ref_kernels<float>());
  for_each_table_and_threads([&](const Kernels& k) {
    const auto [got, gradients] = run(k);
    expect_same_out(got, want);
    expect_same_gradients(gradients, want_gradients);
  });
}

}  // namespace
}  // namespace moe::testing
