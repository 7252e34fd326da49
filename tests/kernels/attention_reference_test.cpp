// SPDX-License-Identifier: MIT
// What the specification itself means: published numbers, a direct softmax over all keys, and
// gradients against central differences in double for every option.
#include <cmath>
#include <gtest/gtest.h>
#include <vector>

#include "attention_testing.h"

namespace moe {
namespace {

using testing::AttentionCase;
using testing::AttentionGradients;
using testing::AttentionLayer;
using testing::AttentionOut;
using testing::Guarded;
using testing::run_backward;
using testing::run_forward;

double loss(const AttentionLayer<double>& layer) {
  const AttentionOut<double> out = run_forward(ref_kernels<double>(), layer);
  double sum = 0;
  for (int64_t t = 0; t < layer.what.n; ++t)
    for (int64_t i = 0; i < layer.do_.cols; ++i)
      sum += out.o_view.at<double>(t, i) * layer.do_.at<double>(t, i);
  return sum;
}

// |analytic - numeric| / |numeric| over every `step`-th element of x.
double relative_error(const AttentionLayer<double>& layer, const Guarded<double>& x,
                      const Guarded<double>& added, const Guarded<double>& before, int64_t step) {
  constexpr double kStep =
      1e-5;  // truncation ~ 1e-10 of the third derivative, cancellation ~ 1e-16 |loss| / 1e-5
  double error = 0, size = 0;
  for (int64_t i = 0; i < x.size(); i += step) {
    const double old = x[i];
    x[i] = old + kStep;
    const double high = loss(layer);
    x[i] = old - kStep;
    const double low = loss(layer);
    x[i] = old;
    const double numeric = (high - low) / (2 * kStep), analytic = added[i] - before[i];
    error += (analytic - numeric) * (analytic - numeric);
    size += numeric * numeric;
  }
  return x.size() == 0 ? 0 : std::sqrt(error / size);
}

void check_gradients(const AttentionCase& c) {
  SCOPED_TRACE(c.text());
  const AttentionLayer<double> layer(c);
  const AttentionGradients<double> before(layer);
  const AttentionGradients<double> after =
      run_backward(ref_kernels<double>(), layer, run_forward(ref_kernels<double>(), layer));
  EXPECT_LT(relative_error(layer, layer.qkv, after.dqkv, before.dqkv, 13), 1e-6);
  if (c.sink) {
    EXPECT_LT(relative_error(layer, layer.sink, after.dsink, before.dsink, 1), 1e-6);
  }
  if (c.t5) {
    EXPECT_LT(relative_error(layer, layer.t5_table, after.dt5_table, before.dt5_table, 1), 1e-6);
  }
  if (c.shaw) {
    EXPECT_LT(relative_error(layer, layer.shaw_k, after.dshaw_k, before.dshaw_k, 5), 1e-6);
    EXPECT_LT(relative_error(layer, layer.shaw_v, after.dshaw_v, before.dshaw_v, 5), 1e-6);
  }
}

// 70 tokens: two key blocks. Heads share kv heads, and the head dims of q and v differ.
constexpr AttentionCase kBase{.H = 4, .G = 2, .A = 5, .Av = 3, .n = 70};

TEST(AttentionReference, GradientsEqualCentralDifferences) { check_gradients(kBase); }
TEST(AttentionReference, GradientsEqualCentralDifferencesWithAWindow) {
  AttentionCase c = kBase;
  c.window = 20;
  check_gradients(c);
}
TEST(AttentionReference, GradientsEqualCentralDifferencesWithASoftCap) {
  AttentionCase c = kBase;
  c.softcap = 1.5;
  check_gradients(c);
}
TEST(AttentionReference, GradientsEqualCentralDifferencesWithASink) {
  AttentionCase c = kBase;
  c.sink = true;
  check_gradients(c);
}
TEST(AttentionReference, GradientsEqualCentralDifferencesWithAlibi) {
  AttentionCase c = kBase;
  c.alibi = true;
  check_gradients(c);
}
TEST(AttentionReference, GradientsEqualCentralDifferencesWithAT5Bias) {
  AttentionCase c = kBase;
  c.t5 = true;
  check_gradients(c);
}
TEST(AttentionReference, GradientsEqualCentralDifferencesWithShawsRelativePositions) {
  AttentionCase c = kBase;
  c.shaw = 6;
  check_gradients(c);
}
TEST(AttentionReference, GradientsEqualCentralDifferencesWithEverything) {
  AttentionCase c = kBase;
  c.window = 30, c.softcap = 2, c.sink = true, c.alibi = true, c.t5 = true, c.shaw = 4;
  check_gradients(c);
}

// softmax(tanh(q k scale / cap) cap + slope (j - t) + table) v over the keys (t - window, t] and
// the sink, written down directly.
TEST(AttentionReference, IsSoftmaxOverTheVisibleKeysAndTheSink) {
  for (const bool plain : {true, false}) {
    AttentionCase w = kBase;
    w.n = 150;
    if (!plain)
      w.window = 70, w.softcap = 2, w.sink = true, w.alibi = true, w.t5 = true, w.shaw = 5;
    const AttentionLayer<double> layer(w);
    const AttentionConfig& c = layer.config;
    const AttentionOut<double> out = run_forward(ref_kernels<double>(), layer);
    for (int64_t t = 0; t < w.n; ++t)
      for (int64_t h = 0; h < w.H; ++h) {
        const int64_t g = h / 2;
        double denominator = c.sink_H ? std::exp(c.sink_H.at<double>(0, h)) : 0;
        std::vector<double> o(size_t(w.Av), 0.0);
        for (int64_t j = plain ? 0 : std::max<int64_t>(0, t - 69); j <= t; ++j) {
          const int64_t relative = std::max<int64_t>(j - t, -5) + 5,
                        bucket = layer.buckets[size_t(std::min<int64_t>(t - j, 19))];
          double s = 0;
          for (int64_t a = 0; a < w.A; ++a)
            s += layer.q.at<double>(t, h * w.A + a) *
                 (layer.k.at<double>(j, g * w.A + a) +
                  (plain ? 0 : c.shaw_k_CA.at<double>(relative, a)));
          s *= c.scale;
          if (!plain)
            s = std::tanh(s / 2) * 2 + c.alibi_slopes_H.at<double>(0, h) * double(j - t) +
                c.t5_table_UH.at<double>(bucket, h);
          denominator += std::exp(s);
          for (int64_t a = 0; a < w.Av; ++a)
            o[size_t(a)] += std::exp(s) * (layer.v.at<double>(j, g * w.Av + a) +
                                           (plain ? 0 : c.shaw_v_CA.at<double>(relative, a)));
        }
        EXPECT_NEAR(out.max_view.at<double>(t, h) + std::log(out.sum_view.at<double>(t, h)),
                    std::log(denominator), 1e-12);
        for (int64_t a = 0; a < w.Av; ++a)
          EXPECT_NEAR(out.o_view.at<double>(t, h * w.Av + a), o[size_t(a)] / denominator, 1e-12);
      }
  }
}

// Three tokens by PyTorch in float64: softmax(Q K^T / sqrt(2) + causal mask) V and its gradients
// for dO; with a sink, one more logit 0.25 joins the softmax and its column is dropped.
struct Golden {
  bool sink;
  double o[6], lse[3], dq[6], dk[6], dv[6], dsink;
};
constexpr Golden kGolden[2] = {
    {false,
     {1, 2, -.052983346, 1.210262490, .166733330, 1.852000365},
     {.212132034, .358677051, 1.243390090},
     {0, 0, 0, 0, -.174579003, .136590387},
     {.020728522, .082914089, .009033406, .036133624, -.029761928, -.119047712},
     {.181495067, .121146252, -.017766601, .042379588, .136271534, -.163525840},
     0},
    {true,
     {.490534140, .981068279, -.027929776, .637980860, .121674816, 1.351510246},
     {.924392435, .998961318, 1.558433756},
     {.026507001, .061849668, -.015320371, .033850358, -.169390987, .066427043},
     {.111531565, -.032488265, .021754574, -.052177487, -.029531756, -.118127026},
     {.137306900, .002186900, .019037145, -.011743128, .099445107, -.119334128},
     -.046886020}};

TEST(AttentionReference, EqualsPyTorchOnThreeTokens) {
  const double q[6] = {1, 0, .5, -1, .2, .8}, k[6] = {.3, .7, -.6, .1, 1.2, -.4},
               v[6] = {1, 2, -1, .5, 0, 3};
  const double dout[6] = {.1, .2, -.3, .4, .5, -.6};
  for (const Golden& golden : kGolden) {
    AttentionCase c{.H = 1, .G = 1, .A = 2, .Av = 2, .n = 3};
    c.scale = 1 / std::sqrt(2.0);
    c.sink = golden.sink;
    const AttentionLayer<double> layer(c);
    layer.sink[0] = .25;
    for (int64_t i = 0; i < 6; ++i) {
      layer.q.at<double>(i / 2, i % 2) = q[i];
      layer.k.at<double>(i / 2, i % 2) = k[i];
      layer.v.at<double>(i / 2, i % 2) = v[i];
      layer.do_.at<double>(i / 2, i % 2) = dout[i];
    }
    const AttentionOut<double> out = run_forward(ref_kernels<double>(), layer);
    const AttentionGradients<double> before(layer),
        after = run_backward(ref_kernels<double>(), layer, out);
    constexpr double kWritten = 1e-9;  // nine decimals are written above
    for (int64_t t = 0; t < 3; ++t)
      EXPECT_NEAR(out.max_view.at<double>(t, 0) + std::log(out.sum_view.at<double>(t, 0)),
                  golden.lse[t], kWritten);
    for (int64_t i = 0; i < 6; ++i) {
      const int64_t at = i / 2 * 6 + i % 2;  // rows of q, k and v side by side
      EXPECT_NEAR(out.o_view.at<double>(i / 2, i % 2), golden.o[i], kWritten);
      EXPECT_NEAR(after.dqkv[at] - before.dqkv[at], golden.dq[i], kWritten);
      EXPECT_NEAR(after.dqkv[at + 2] - before.dqkv[at + 2], golden.dk[i], kWritten);
      EXPECT_NEAR(after.dqkv[at + 4] - before.dqkv[at + 4], golden.dv[i], kWritten);
    }
    if (golden.sink) {
      EXPECT_NEAR(after.dsink[0] - before.dsink[0], golden.dsink, kWritten);
    }
  }
}

}  // namespace
}  // namespace moe
