// SPDX-License-Identifier: MIT
// Gradients of attention with every mask and bias, of the rotary embedding and of the norms.
#include "moe/ops/attention.h"

#include "moe/ops/elementwise.h"
#include "moe/ops/norm.h"
#include "moe/ops/rope.h"

#include "gradient_check.h"

namespace moe {
namespace {

using testing::expect_gradients;
using testing::indices;
using testing::normal_tensor;
using Inputs = std::vector<Var>;

struct Case {
  int64_t H = 1, G = 1, A = 3, Av = 2, window = 0;
  double softcap = 0;
  bool sink = false, alibi = false, t5 = false, shaw = false;
  std::vector<int64_t> lengths = {6, 1, 4};
};

void check(const Case& c) {
  SCOPED_TRACE(str("H", c.H, " G", c.G, " A", c.A, " Av", c.Av, " window", c.window, " softcap",
                   c.softcap, c.sink ? " sink" : "", c.alibi ? " alibi" : "", c.t5 ? " t5" : "",
                   c.shaw ? " shaw" : ""));
  ops::AttentionArgs args{.spans = {},
                          .H = c.H,
                          .G = c.G,
                          .A = c.A,
                          .Av = c.Av,
                          .scale = 0.6,
                          .window = c.window,
                          .softcap = c.softcap,
                          .sink_H = {},
                          .t5_table_UH = {},
                          .shaw_k_CA = {},
                          .shaw_v_CA = {},
                          .alibi_slopes_H = {},
                          .t5_bucket_of_distance = {}};
  int64_t T = 0;
  for (const int64_t n : c.lengths) {
    args.spans.push_back({.row = T, .n = n, .position = 0, .kv = {}});
    T += n;
  }
  if (c.alibi) args.alibi_slopes_H = normal_tensor({1, c.H}, "slopes", 0.3);
  if (c.t5) args.t5_bucket_of_distance = indices({0, 1, 2, 2});
  std::vector<Tensor> inputs = {normal_tensor({T, (c.H + c.G) * c.A + c.G * c.Av}, "qkv")};
  size_t sink = 0, t5 = 0, shaw = 0;
  auto add_input = [&](Shape shape, const char* name) {
    inputs.push_back(normal_tensor(shape, name));
    return inputs.size() - 1;
  };
  if (c.sink) sink = add_input({c.H}, "sink");
  if (c.t5) t5 = add_input({3, c.H}, "t5");
  if (c.shaw) shaw = add_input({5, c.A}, "shaw k"), add_input({5, c.Av}, "shaw v");
  expect_gradients(inputs, [&](const Inputs& in) {
    ops::AttentionArgs a = args;
    if (c.sink) a.sink_H = in[sink];
    if (c.t5) a.t5_table_UH = in[t5];
    if (c.shaw) a.shaw_k_CA = in[shaw], a.shaw_v_CA = in[shaw + 1];
    return ops::attention(in[0], a);
  });
}

TEST(AttentionGradient, MultiHeadMultiQueryAndGrouped) {
  check({.H = 2, .G = 2});
  check({.H = 3, .G = 1});
  check({.H = 4, .G = 2, .A = 2, .Av = 3});
}

TEST(AttentionGradient, EachMaskAndBias) {
  check({.H = 2, .G = 1, .window = 1});
  check({.H = 2, .G = 1, .window = 3});
  check({.H = 2, .G = 1, .softcap = 1.3});
  check({.H = 2, .G = 1, .sink = true});
  check({.H = 2, .G = 1, .alibi = true});
  check({.H = 2, .G = 1, .t5 = true});
  check({.H = 2, .G = 1, .shaw = true});
}

TEST(AttentionGradient, EveryMaskAndBiasAtOnce) {
  check({.H = 4,
         .G = 2,
         .window = 4,
         .softcap = 2,
         .sink = true,
         .alibi = true,
         .t5 = true,
         .shaw = true});
}

// More keys than a block of 64.
TEST(AttentionGradient, BeyondOneKeyBlock) {
  check({.A = 1, .Av = 1, .lengths = {67}});
  check({.A = 1, .Av = 1, .window = 3, .sink = true, .shaw = true, .lengths = {66}});
}

struct RopeCase {
  int64_t heads, head_dim, rotary_dim, rest;
  bool interleaved;
};

TEST(OpGradient, RopeHalvesInterleavedAndPartial) {
  for (const RopeCase& c : {RopeCase{2, 4, 4, 3, false}, RopeCase{2, 4, 4, 3, true},
                            RopeCase{3, 6, 2, 0, false}, RopeCase{1, 6, 4, 5, true}}) {
    SCOPED_TRACE(str(c.heads, " x ", c.head_dim, ", ", c.rotary_dim, " rotated"));
    ops::RopeArgs args{.cos_PR = Tensor::empty({9, c.rotary_dim / 2}, DType::f64),
                       .sin_PR = Tensor::empty({9, c.rotary_dim / 2}, DType::f64),
                       .positions_T = indices({0, 8, 3}),
                       .heads = c.heads,
                       .head_dim = c.head_dim,
                       .rotary_dim = c.rotary_dim,
                       .interleaved = c.interleaved};
    for (int64_t p = 0; p < 9; ++p)
      for (int64_t i = 0; i < c.rotary_dim / 2; ++i) {
        args.cos_PR.view().at<double>(p, i) = std::cos(double(p) / double(i + 1));
        args.sin_PR.view().at<double>(p, i) = std::sin(double(p) / double(i + 1));
      }
    const Tensor x = normal_tensor({3, c.heads * c.head_dim + c.rest}, "x");
    expect_gradients({x}, [&](const Inputs& in) { return ops::rope(in[0], args); });
    // In place, behind an op that does not read its output again.
    ops::RopeArgs in_place = args;
    in_place.in_place = true;
    expect_gradients({x},
                     [&](const Inputs& in) { return ops::rope(ops::scale(in[0], 2), in_place); });
    // A value with another use, on either side of the rotation.
    for (const bool rope_last : {false, true})
      expect_gradients({x}, [&](const Inputs& in) {
        const Var inner = ops::scale(in[0], 2);
        const Var first = rope_last ? ops::scale(inner, 3) : ops::rope(inner, args);
        return ops::add(first, rope_last ? ops::rope(inner, args) : ops::scale(inner, 3));
      });
  }
}

TEST(OpGradient, RmsNorm) {
  for (const int64_t D : {1, 17})
    expect_gradients({normal_tensor({3, D}, "x"), normal_tensor({D}, "w")},
                     [](const Inputs& in) { return ops::rms_norm(in[0], in[1], 1e-2); });
}

// Columns before, between and after the ranges are copied.
TEST(OpGradient, RmsNormOfColumnGroups) {
  expect_gradients(
      {normal_tensor({3, 19}, "x"), normal_tensor({3}, "wq"), normal_tensor({5}, "wk")},
      [](const Inputs& in) {
        return ops::rms_norm_columns(in[0],
                                     {{.begin = 1, .count = 6, .groups = 2, .w = in[1]},
                                      {.begin = 9, .count = 5, .groups = 1, .w = in[2]}},
                                     1e-6);
      });
}

TEST(OpGradient, LayerNormWithAndWithoutABias) {
  const Tensor x = normal_tensor({3, 17}, "x"), w = normal_tensor({17}, "w"),
               b = normal_tensor({17}, "b");
  expect_gradients({x, w},
                   [](const Inputs& in) { return ops::layer_norm(in[0], in[1], {}, 1e-5); });
  expect_gradients({x, w, b},
                   [](const Inputs& in) { return ops::layer_norm(in[0], in[1], in[2], 1e-5); });
}

}  // namespace
}  // namespace moe
