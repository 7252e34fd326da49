// SPDX-License-Identifier: MIT
// Products in two bytes a number: the plain ones on rounded operands, rounded, and nothing else.
#include "moe/ops/precision.h"

#include <cmath>

#include "moe/ops/activation.h"
#include "moe/ops/attention.h"
#include "moe/ops/feed_forward.h"
#include "moe/ops/linear.h"
#include "moe/ops/rows.h"

#include "gradient_check.h"

namespace moe::testing {
namespace {

Tensor floats(Shape shape, std::string_view name, Layout layout = Layout::row_major) {
  return normal_tensor(shape, name, 1, layout).to(DType::f32);
}

struct Result {
  Tensor y;
  std::vector<Tensor> gradients;
};

// y and the inputs' gradients of the loss sum(dy * y).
Result run(const std::vector<Tensor>& inputs, const Tensor& dy, const Op& op) {
  std::vector<Var> vars;
  for (const Tensor& t : inputs) vars.emplace_back(t.clone(), true);
  Tape tape;
  const Var y = op(vars);
  y.set_grad(dy.clone());
  tape.backward_from_grads();
  Result r{y.value(), {}};
  for (const Var& v : vars) r.gradients.push_back(v.grad());
  return r;
}

class TwoBytes : public ::testing::TestWithParam<DType> {};

TEST_P(TwoBytes, LinearIsThePlainOneOnRoundedOperands) {
  const DType type = GetParam();
  const Tensor x = floats({7, 20}, "x"), w = floats({2, 33, 20}, "w", Layout::panel16),
               bias = floats({2, 33, 1}, "bias", Layout::panel16), dy = floats({7, 33}, "dy"),
               offsets = indices({0, 3, 7});
  const Op narrow = [&](const std::vector<Var>& v) {
    return ops::grouped_linear(v[0], v[1], offsets, v[2], {.type = type});
  };
  const Op plain = [&](const std::vector<Var>& v) {
    return ops::grouped_linear(v[0], v[1], offsets, v[2]);
  };
  const Result got = run({x, w, bias}, dy, narrow),
               want = run({ops::rounded(x, type), ops::rounded(w, type), bias},
                          ops::rounded(dy, type), plain);
  EXPECT_TRUE(same_bits(got.y, ops::rounded(want.y, type)));
  EXPECT_TRUE(same_bits(got.gradients[0], ops::rounded(want.gradients[0], type)));
  EXPECT_TRUE(same_bits(got.gradients[1], want.gradients[1]));  // of a weight: float32
  EXPECT_TRUE(same_bits(got.gradients[2], want.gradients[2]));
  EXPECT_FALSE(same_bits(got.y, want.y));
}

TEST_P(TwoBytes, FeedForwardIsItsPartsInARow) {
  const DType type = GetParam();
  for (const bool gated : {true, false}) {
    const Tensor x = floats({7, 20}, "x"), token = indices({0, 2, 5, 1, 2, 3, 4, 6}),
                 offsets = indices({0, 3, 8}), dy = floats({8, 20}, "dy"),
                 up = gated ? floats({2, 2 * 13, 20}, "up", Layout::panel16_gate_up)
                            : floats({2, 13, 20}, "up", Layout::panel16),
                 down = floats({2, 20, 13}, "down", Layout::panel16);
    const Op fused = [&](const std::vector<Var>& v) {
      return ops::feed_forward(v[0], offsets, token,
                               {.up = v[1],
                                .up_bias = {},
                                .down = v[2],
                                .down_bias = {},
                                .d_ff = 13,
                                .gated = gated,
                                .kind = Activation::silu,
                                .precision = {.type = type}});
    };
    const Op parts = [&](const std::vector<Var>& v) {
      const Var u =
          ops::grouped_linear(ops::gather_rows(v[0], token), v[1], offsets, {}, {.type = type});
      const Var h = gated ? ops::gated_activation(u, 13, Activation::silu)
                          : ops::activation(u, Activation::silu);
      return ops::grouped_linear(h, v[2], offsets, {}, {.type = type});
    };
    const Result got = run({x, up, down}, dy, fused), want = run({x, up, down}, dy, parts);
    EXPECT_TRUE(same_bits(got.y, want.y));
    EXPECT_TRUE(same_bits(got.gradients[1], want.gradients[1]));
    EXPECT_TRUE(same_bits(got.gradients[2], want.gradients[2]));
    // dx of a token with two rows: the sum is rounded once here, each row there. A rounding moves a
    // number by half a unit of its last place at most.
    const double ulp = type == DType::bf16 ? 0x1p-8 : 0x1p-11;
    double largest = 0, worst = 0;
    for (size_t i = 0; i < x.data<float>().size(); ++i) {
      const float a = got.gradients[0].data<float>()[i], b = want.gradients[0].data<float>()[i];
      largest = std::max(largest, double(std::abs(b)));
      worst = std::max(worst, double(std::abs(a - b)));
    }
    EXPECT_LE(worst, 2 * ulp * largest);
  }
}

// The experts' sum in float32: against the plain op, whose operands are not rounded. Each product
// is off by the rounding of two operands and of what it is made from; with 20 and 13 terms of size
// 1 the errors stay below eight units of 2^-8 (2^-11) of the largest number.
TEST_P(TwoBytes, WeightedSumIsNearThePlainOne) {
  const DType type = GetParam();
  const Tensor x = floats({7, 20}, "x"), token = indices({0, 2, 5, 1, 2, 3, 4, 6}),
               offsets = indices({0, 3, 8}), weight = floats({8, 1}, "weight"),
               dy = floats({7, 20}, "dy"),
               up = floats({2, 2 * 13, 20}, "up", Layout::panel16_gate_up),
               down = floats({2, 20, 13}, "down", Layout::panel16);
  const auto op = [&](ops::Precision precision) {
    return [=](const std::vector<Var>& v) {
      return ops::weighted_feed_forward(v[0], offsets, token, v[3],
                                        {.up = v[1],
                                         .up_bias = {},
                                         .down = v[2],
                                         .down_bias = {},
                                         .d_ff = 13,
                                         .gated = true,
                                         .kind = Activation::silu,
                                         .precision = precision});
    };
  };
  const Result got = run({x, up, down, weight}, dy, op({.type = type})),
               want = run({x, up, down, weight}, dy, op({}));
  const double unit = type == DType::bf16 ? 0x1p-8 : 0x1p-11;
  const auto expect_near = [&](const Tensor& a, const Tensor& b, const char* what) {
    double largest = 0, worst = 0;
    for (size_t i = 0; i < b.data<float>().size(); ++i) {
      largest = std::max(largest, double(std::abs(b.data<float>()[i])));
      worst = std::max(worst, double(std::abs(a.data<float>()[i] - b.data<float>()[i])));
    }
    EXPECT_LE(worst, 8 * unit * largest) << what;
    EXPECT_GT(worst, 0.01 * unit * largest) << what;
  };
  expect_near(got.y, want.y, "y");
  const char* const names[] = {"dx", "dup", "ddown", "dweight"};
  for (size_t i = 0; i < 4; ++i) expect_near(got.gradients[i], want.gradients[i], names[i]);
}

TEST_P(TwoBytes, AttentionIsThePlainOneOnRoundedOperands) {
  const DType type = GetParam();
  const Tensor qkv = floats({70, 4 * 8 + 2 * 8 + 2 * 8}, "qkv"), d_o = floats({70, 4 * 8}, "do");
  const auto args = [](ops::Precision precision) {
    ops::AttentionArgs a;
    a.spans = {{.row = 0, .n = 66, .position = 0, .kv = {}},
               {.row = 66, .n = 4, .position = 0, .kv = {}}};
    a.H = 4;
    a.G = 2;
    a.A = a.Av = 8;
    a.scale = 0.35;
    a.precision = precision;
    return a;
  };
  const Result got = run({qkv}, d_o, [&](const std::vector<Var>& v) {
    return ops::attention(v[0], args({.type = type}));
  });
  const Result want =
      run({ops::rounded(qkv, type)}, ops::rounded(d_o, type),
          [&](const std::vector<Var>& v) { return ops::attention(v[0], args({})); });
  EXPECT_TRUE(same_bits(got.y, ops::rounded(want.y, type)));
  // Backward reads the rounded result for sum(dO o); nothing else differs.
  const double unit = type == DType::bf16 ? 0x1p-8 : 0x1p-11;
  double largest = 0, worst = 0;
  for (size_t i = 0; i < qkv.data<float>().size(); ++i) {
    const float a = got.gradients[0].data<float>()[i], b = want.gradients[0].data<float>()[i];
    largest = std::max(largest, double(std::abs(b)));
    worst = std::max(worst, double(std::abs(a - b)));
  }
  EXPECT_LE(worst, 4 * unit * largest);
}

INSTANTIATE_TEST_SUITE_P(Types, TwoBytes, ::testing::Values(DType::bf16, DType::f16),
                         [](const auto& test) {
                           return test.param == DType::bf16 ? "bf16" : "f16";
                         });

}  // namespace
}  // namespace moe::testing
