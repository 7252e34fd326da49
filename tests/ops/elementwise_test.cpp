// SPDX-License-Identifier: MIT
// Gradients of the pointwise ops, softmax, dropout and the loss; and that gradients of a value with
// several uses add up.
#include "moe/ops/elementwise.h"

#include "moe/ops/activation.h"
#include "moe/ops/cross_entropy.h"
#include "moe/ops/dropout.h"
#include "moe/ops/softmax.h"

#include "gradient_check.h"

namespace moe {
namespace {

using testing::expect_gradients;
using testing::indices;
using testing::normal_tensor;
using Inputs = std::vector<Var>;

const Tensor& a() {
  static const Tensor x = normal_tensor({3, 17}, "a");
  return x;
}
const Tensor& b() {
  static const Tensor x = normal_tensor({3, 17}, "b");
  return x;
}

TEST(OpGradient, Add) {
  expect_gradients({a(), b()}, [](const Inputs& in) { return ops::add(in[0], in[1]); });
}

TEST(OpGradient, Multiply) {
  expect_gradients({a(), b()}, [](const Inputs& in) { return ops::multiply(in[0], in[1]); });
}

TEST(OpGradient, Scale) {
  expect_gradients({a()}, [](const Inputs& in) { return ops::scale(in[0], -1.7); });
}

TEST(OpGradient, ScaleColumns) {
  expect_gradients({a(), normal_tensor({17}, "gamma")},
                   [](const Inputs& in) { return ops::scale_columns(in[0], in[1]); });
}

TEST(OpGradient, ScaleRows) {
  expect_gradients({a(), normal_tensor({3, 1}, "w")},
                   [](const Inputs& in) { return ops::scale_rows(in[0], in[1]); });
}

TEST(OpGradient, TheSameValueTwice) {
  expect_gradients({a()}, [](const Inputs& in) { return ops::add(in[0], in[0]); });
  expect_gradients({a()}, [](const Inputs& in) { return ops::multiply(in[0], in[0]); });
  expect_gradients({a()}, [](const Inputs& in) {
    const Var twice = ops::add(in[0], in[0]);
    return ops::add(twice, twice);
  });
}

// The tape runs backwards, so whichever use comes last in forward gives the first gradient: each
// op must be able to give it and to add to it.
TEST(OpGradient, AValueUsedByTwoOpsInEitherOrder) {
  const std::vector<std::function<Var(const Var&)>> uses = {
      [](const Var& x) { return ops::add(x, x); },
      [](const Var& x) { return ops::add(x, Var(b())); },
      [](const Var& x) { return ops::add(Var(b()), x); },
      [](const Var& x) { return ops::multiply(x, Var(b())); },
      [](const Var& x) { return ops::scale(x, 3); },
      [](const Var& x) { return ops::activation(x, Activation::silu); },
      [](const Var& x) { return ops::softmax(x); }};
  for (size_t i = 0; i < uses.size(); ++i)
    for (size_t j = 0; j < uses.size(); ++j) {
      SCOPED_TRACE(str(i, " then ", j));
      expect_gradients({a()}, [&](const Inputs& in) {
        const Var inner = ops::scale(in[0], 1.5);  // not a leaf
        const Var first = uses[i](inner);
        return ops::add(first, uses[j](inner));
      });
    }
}

// The residual stream: a sum whose value goes on and is used by a branch as well.
TEST(OpGradient, ASumThatIsUsedByABranchAndBeyond) {
  expect_gradients({a(), b()}, [](const Inputs& in) {
    const Var x = ops::add(in[0], in[1]);
    const Var y = ops::add(x, ops::activation(x, Activation::gelu_erf));
    return ops::add(y, ops::multiply(y, x));
  });
}

// Outputs that nobody uses have a gradient of zeros, and add nothing.
TEST(OpGradient, ADeadBranchAddsNothing) {
  expect_gradients({a(), b()}, [](const Inputs& in) {
    (void)ops::multiply(in[0], in[1]);
    (void)ops::add(in[0], in[1]);
    return ops::add(ops::scale(in[0], 2), in[1]);
  });
}

TEST(OpGradient, EveryActivation) {
  for (const Activation kind : {Activation::relu, Activation::gelu_tanh, Activation::gelu_erf,
                                Activation::silu, Activation::sigmoid}) {
    SCOPED_TRACE(int(kind));
    expect_gradients({normal_tensor({3, 17}, "x", 2)},
                     [&](const Inputs& in) { return ops::activation(in[0], kind); });
  }
}

// Every stored column, pads included: those are never read and get the gradient 0.
TEST(OpGradient, EveryGatedActivation) {
  for (const Activation kind : {Activation::relu, Activation::gelu_tanh, Activation::gelu_erf,
                                Activation::silu, Activation::sigmoid})
    for (const int64_t d_ff : {1, 16, 19}) {
      SCOPED_TRACE(str(int(kind), " d_ff ", d_ff));
      const int64_t stored = (d_ff + 15) / 16 * 32;
      Tensor gu = normal_tensor({2, stored}, "gu", 2);
      const Var input(gu.clone(), true);
      const Tensor weight = normal_tensor({2, d_ff}, "weight");
      {
        Tape tape;
        const Var h = ops::gated_activation(input, d_ff, kind);
        std::ranges::copy(weight.data<double>(), h.grad().data<double>().begin());
        tape.backward_from_grads();
      }
      auto loss = [&] {
        const Var h = ops::gated_activation(Var(gu), d_ff, kind);
        double sum = 0;
        for (size_t j = 0; j < size_t(h.value().numel()); ++j)
          sum += weight.data<double>()[j] * h.value().data<double>()[j];
        return sum;
      };
      for (size_t i = 0; i < size_t(gu.numel()); ++i) {
        const double old = gu.data<double>()[i];
        auto slope = [&](double step) {
          gu.data<double>()[i] = old + step;
          const double above = loss();
          gu.data<double>()[i] = old - step;
          const double below = loss();
          gu.data<double>()[i] = old;
          return (above - below) / (2 * step);
        };
        EXPECT_NEAR(input.grad().data<double>()[i], (4 * slope(1e-3) - slope(2e-3)) / 3, 1e-8) << i;
      }
    }
}

TEST(OpGradient, Softmax) {
  for (const int64_t N : {1, 3, 17})
    if (N == 1)  // a constant: its gradient is 0
      EXPECT_EQ(
          testing::tape_gradients({normal_tensor({2, 1}, "z")},
                                  [](const Inputs& in) { return ops::softmax(in[0]); }, {true})[0]
              .data<double>()[0],
          0);
    else
      expect_gradients({normal_tensor({4, N}, "z")},
                       [](const Inputs& in) { return ops::softmax(in[0]); });
}

// Rows without a target give nothing; the divisor is the step's token count, not the call's.
TEST(OpGradient, CrossEntropy) {
  const Tensor targets = indices({2, -1, 0, 18});
  expect_gradients({normal_tensor({4, 19}, "logits", 2)},
                   [&](const Inputs& in) { return ops::cross_entropy(in[0], targets, 7); });
  const Tensor grad = testing::tape_gradients(
      {normal_tensor({4, 19}, "logits", 2)},
      [&](const Inputs& in) { return ops::cross_entropy(in[0], targets, 7); }, {true})[0];
  for (const double g : grad.rows(1, 2).data<double>()) EXPECT_EQ(g, 0);
}

TEST(OpGradient, Dropout) {
  const std::vector<int64_t> index = {4, 0, 1000000007};
  const Tensor token_index = Tensor::from<int64_t>({3}, index);
  const RngStream stream(3, 2, "test");
  for (const double rate : {0.1, 0.6})
    expect_gradients(
        {a()}, [&](const Inputs& in) { return ops::dropout(in[0], rate, stream, token_index); });
}

}  // namespace
}  // namespace moe
