// SPDX-License-Identifier: MIT
// Gradients of the linear maps, of the feed-forward op and of the embedding; the feed-forward op
// against the ops that it stands for, bit for bit.
#include "moe/ops/linear.h"

#include "moe/ops/activation.h"
#include "moe/ops/elementwise.h"
#include "moe/ops/embedding.h"
#include "moe/ops/feed_forward.h"
#include "moe/ops/rows.h"

#include "gradient_check.h"

namespace moe {
namespace {

using testing::expect_gradients;
using testing::indices;
using testing::normal_tensor;
using Inputs = std::vector<Var>;
constexpr Layout kPanel = Layout::panel16;

TEST(OpGradient, LinearWithAndWithoutABias) {
  for (const int64_t O : {1, 16, 19}) {
    SCOPED_TRACE(O);
    const Tensor x = normal_tensor({5, 7}, "x"), w = normal_tensor({O, 7}, "w", 1, kPanel),
                 bias = normal_tensor({O, 1}, "bias", 1, kPanel);
    expect_gradients({x, w}, [](const Inputs& in) { return ops::linear(in[0], in[1]); });
    expect_gradients({x, w, bias},
                     [](const Inputs& in) { return ops::linear(in[0], in[1], in[2]); });
  }
}

TEST(OpGradient, LinearWithTheSameInputTwiceAndOneWeightTwice) {
  const Tensor x = normal_tensor({4, 5}, "x"), w = normal_tensor({5, 5}, "w", 0.5, kPanel);
  expect_gradients({x, w}, [](const Inputs& in) {
    const Var y = ops::linear(in[0], in[1]);
    return ops::add(ops::linear(y, in[1]), ops::add(y, in[0]));
  });
}

// Experts 0 and 2 have no rows, expert 3 has one.
TEST(OpGradient, GroupedLinearWithEmptyExperts) {
  const Tensor offsets = indices({0, 0, 4, 4, 5}), x = normal_tensor({5, 6}, "x"),
               w = normal_tensor({4, 18, 6}, "w", 1, kPanel),
               bias = normal_tensor({4, 18, 1}, "bias", 1, kPanel);
  expect_gradients({x, w},
                   [&](const Inputs& in) { return ops::grouped_linear(in[0], in[1], offsets); });
  const testing::Op with_bias = [&](const Inputs& in) {
    return ops::grouped_linear(in[0], in[1], offsets, in[2]);
  };
  expect_gradients({x, w, bias}, with_bias);
  const std::vector<Tensor> grads =
      testing::tape_gradients({x, w, bias}, with_bias, {true, true, true});
  for (const int64_t e : {0, 2})
    for (const auto& [grad, rows] : {std::pair(grads[1], 18), std::pair(grads[2], 18)})
      for (const double g : read_rows(grad, e, 0, rows).data<double>()) EXPECT_EQ(g, 0);
}

TEST(OpGradient, GroupedLinearWithoutAnyRow) {
  const std::vector<Tensor> grads = testing::tape_gradients(
      {Tensor::zeros({0, 6}, DType::f64), normal_tensor({2, 3, 6}, "w", 1, kPanel)},
      [](const Inputs& in) {
        return ops::grouped_linear(in[0], in[1], indices({0, 0, 0}));
      },
      {true, true});
  for (const double g : grads[1].data<double>()) EXPECT_EQ(g, 0);
}

// A gated linear map makes the panels that its activation reads.
TEST(OpGradient, GateAndUpThroughTheActivation) {
  for (const int64_t F : {3, 16, 21}) {
    SCOPED_TRACE(F);
    expect_gradients(
        {normal_tensor({4, 5}, "x"), normal_tensor({2 * F, 5}, "w", 0.7, Layout::panel16_gate_up),
         normal_tensor({2 * F, 1}, "bias", 1, Layout::panel16_gate_up)},
        [&](const Inputs& in) {
          return ops::gated_activation(ops::linear(in[0], in[1], in[2]), F, Activation::gelu_tanh);
        });
  }
}

struct FeedForwardCase {
  bool gated, bias;
  Activation kind;
  int64_t F;
  std::vector<int32_t> offsets;
  std::vector<int32_t> tokens = {};  // of x, for each row; empty: row r is row r of x
};
const std::vector<FeedForwardCase>& cases() {
  static const std::vector<FeedForwardCase> all = {
      {true, false, Activation::silu, 19, {0, 5}},
      {true, true, Activation::gelu_erf, 16, {0, 5}},
      {true, true, Activation::silu, 3, {0, 2, 2, 5, 5}},
      {false, false, Activation::gelu_tanh, 19, {0, 0, 5}},
      {false, true, Activation::silu, 17, {0, 1, 1, 5}},
      {true, false, Activation::sigmoid, 1, {0, 0, 5, 5}},
      {true, true, Activation::silu, 17, {0, 3, 3, 7}, {0, 2, 4, 0, 1, 1, 4}},
      {false, false, Activation::gelu_tanh, 5, {0, 1, 3}, {3, 1, 3}}};
  return all;
}

// x, up, down and, with biases, theirs.
std::vector<Tensor> operands(const FeedForwardCase& c, DType dtype) {
  const int64_t E = int64_t(c.offsets.size()) - 1, D = 6, up = c.gated ? 2 * c.F : c.F;
  const Layout layout = c.gated ? Layout::panel16_gate_up : kPanel;
  std::vector<Tensor> out = {normal_tensor({5, D}, "x"),
                             normal_tensor({E, up, D}, "up", 0.6, layout),
                             normal_tensor({E, D, c.F}, "down", 0.6, kPanel)};
  if (c.bias) {
    out.push_back(normal_tensor({E, up, 1}, "up bias", 1, layout));
    out.push_back(normal_tensor({E, D, 1}, "down bias", 1, kPanel));
  }
  for (Tensor& t : out) t = t.to(dtype);
  return out;
}
Var fused(const FeedForwardCase& c, const Inputs& in) {
  return ops::feed_forward(in[0], indices(c.offsets),
                           c.tokens.empty() ? Tensor() : indices(c.tokens),
                           {.up = in[1],
                            .up_bias = c.bias ? in[3] : Var(),
                            .down = in[2],
                            .down_bias = c.bias ? in[4] : Var(),
                            .d_ff = c.F,
                            .gated = c.gated,
                            .kind = c.kind});
}
Var composed(const FeedForwardCase& c, const Inputs& in) {
  const Tensor offsets = indices(c.offsets);
  const Var x = c.tokens.empty() ? in[0] : ops::gather_rows(in[0], indices(c.tokens));
  const Var up = ops::grouped_linear(x, in[1], offsets, c.bias ? in[3] : Var());
  const Var h = c.gated ? ops::gated_activation(up, c.F, c.kind) : ops::activation(up, c.kind);
  return ops::grouped_linear(h, in[2], offsets, c.bias ? in[4] : Var());
}

TEST(OpGradient, FeedForward) {
  for (size_t i = 0; i < cases().size(); ++i) {
    SCOPED_TRACE(i);
    expect_gradients(operands(cases()[i], DType::f64),
                     [&](const Inputs& in) { return fused(cases()[i], in); });
  }
}

// The stored activations of the first call must not be those of the second.
TEST(OpGradient, FeedForwardTwiceWithTheSameWeights) {
  const FeedForwardCase& c = cases()[2];
  expect_gradients(operands(c, DType::f64), [&](const Inputs& in) {
    Inputs second = in;
    second[0] = fused(c, in);
    return ops::add(fused(c, second), second[0]);
  });
}

TEST(FeedForwardOp, HasTheBitsOfLinearActivationLinear) {
  for (size_t i = 0; i < cases().size(); ++i) {
    SCOPED_TRACE(i);
    const FeedForwardCase& c = cases()[i];
    auto run = [&](auto op) {
      Inputs in;
      for (const Tensor& t : operands(c, DType::f32)) in.emplace_back(t, true);
      std::vector<Tensor> out;
      for (int pass = 0; pass < 2; ++pass) {  // the second adds to the gradients of the first
        Tape tape;
        const Var y = op(c, in);
        out.push_back(y.value());
        const Tensor weight = normal_tensor(y.shape(), "dy").to(DType::f32);
        std::ranges::copy(weight.data<float>(), y.grad().data<float>().begin());
        tape.backward_from_grads();
        for (const Var& v : in) out.push_back(v.grad().clone());
      }
      return out;
    };
    const std::vector<Tensor> got = run(fused), want = run(composed);
    ASSERT_EQ(got.size(), want.size());
    for (size_t j = 0; j < got.size(); ++j) EXPECT_TRUE(same_bits(got[j], want[j])) << j;
  }
}

// Weights of the rows as the last operand; only cases whose down projection has no bias.
std::vector<Tensor> weighted_operands(const FeedForwardCase& c, DType dtype) {
  std::vector<Tensor> out = operands(c, dtype);
  out.push_back(normal_tensor({c.offsets.back(), 1}, "weights").to(dtype));
  return out;
}
std::vector<int32_t> tokens_of(const FeedForwardCase& c) {
  std::vector<int32_t> tokens = c.tokens;
  for (int32_t r = 0; c.tokens.empty() && r < c.offsets.back(); ++r) tokens.push_back(r);
  return tokens;
}
Var weighted(const FeedForwardCase& c, const Inputs& in) {
  return ops::weighted_feed_forward(in[0], indices(c.offsets), indices(tokens_of(c)), in.back(),
                                    {.up = in[1],
                                     .up_bias = {},
                                     .down = in[2],
                                     .down_bias = {},
                                     .d_ff = c.F,
                                     .gated = c.gated,
                                     .kind = c.kind});
}
// Experts, then the sum.
Var summed(const FeedForwardCase& c, const Inputs& in) {
  const std::vector<int32_t> tokens = tokens_of(c);
  std::vector<int32_t> offsets = {0}, rows;
  for (int32_t t = 0; t < 5; ++t) {
    for (size_t r = 0; r < tokens.size(); ++r)
      if (tokens[r] == t) rows.push_back(int32_t(r));
    offsets.push_back(int32_t(rows.size()));
  }
  return ops::combine_rows(fused(c, in), in.back(),
                           {.token_offsets_T1 = indices(offsets),
                            .row_of_N = indices(rows),
                            .weight_of_N = indices(rows)});
}

TEST(OpGradient, WeightedFeedForward) {
  for (size_t i = 0; i < cases().size(); ++i) {
    SCOPED_TRACE(i);
    if (!cases()[i].bias)
      expect_gradients(weighted_operands(cases()[i], DType::f64),
                       [&](const Inputs& in) { return weighted(cases()[i], in); });
  }
}

TEST(FeedForwardOp, TheWeightedSumHasTheBitsOfExpertsAndCombine) {
  for (size_t i = 0; i < cases().size(); ++i) {
    SCOPED_TRACE(i);
    if (cases()[i].bias) continue;
    Inputs in;
    for (const Tensor& t : weighted_operands(cases()[i], DType::f32)) in.emplace_back(t);
    EXPECT_TRUE(same_bits(weighted(cases()[i], in).value(), summed(cases()[i], in).value()));
  }
}

TEST(FeedForwardOp, RefusesTokensThatDoNotAscend) {
  FeedForwardCase c = cases().back();
  Inputs in;
  for (const Tensor& t : weighted_operands(c, DType::f32)) in.emplace_back(t);
  c.tokens = {3, 3, 1};
  EXPECT_THROW(weighted(c, in), Error);
  c.tokens = {3, 1, 5};
  EXPECT_THROW(weighted(c, in), Error);
}

TEST(FeedForwardOp, RefusesAWeightOfAnotherShape) {
  const FeedForwardCase& c = cases()[0];
  Inputs in;
  for (const Tensor& t : operands(c, DType::f64)) in.emplace_back(t);
  FeedForwardCase other = c;
  other.F = 18;
  EXPECT_THROW(fused(other, in), Error);
  other = c;
  other.gated = false;
  EXPECT_THROW(fused(other, in), Error);
}

// Id 3 comes twice: its rows add up. Ids 1 and 19 never come: no gradient.
TEST(OpGradient, Embedding) {
  const Tensor ids = indices({3, 0, 3, 18});
  expect_gradients({normal_tensor({20, 5}, "w", 1, kPanel)},
                   [&](const Inputs& in) { return ops::embedding(ids, in[0]); });
  const Tensor grad = testing::tape_gradients(
      {normal_tensor({20, 5}, "w", 1, kPanel)},
      [&](const Inputs& in) { return ops::embedding(ids, in[0]); }, {true})[0];
  for (const int64_t id : {1, 19})
    for (const double g : read_rows(grad, 0, id, 1).data<double>()) EXPECT_EQ(g, 0);
}

// A tied table: embedding and head.
TEST(OpGradient, OneTableAsEmbeddingAndAsHead) {
  expect_gradients({normal_tensor({20, 5}, "w", 1, kPanel)}, [&](const Inputs& in) {
    return ops::linear(ops::embedding(indices({3, 0, 3}), in[0]), in[0]);
  });
}

}  // namespace
}  // namespace moe
