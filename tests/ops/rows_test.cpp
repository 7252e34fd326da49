// SPDX-License-Identifier: MIT
// Gradients of the ops that move rows and weigh them.
#include "moe/ops/rows.h"

#include "moe/ops/elementwise.h"
#include "moe/ops/select.h"

#include "gradient_check.h"

namespace moe {
namespace {

using testing::expect_gradients;
using testing::indices;
using testing::normal_tensor;
using Inputs = std::vector<Var>;

TEST(OpGradient, GatherRowsWithRepeatedAndUnusedRows) {
  const Tensor rows = indices({4, 1, 1, 3, 1});
  expect_gradients({normal_tensor({5, 3}, "x")},
                   [&](const Inputs& in) { return ops::gather_rows(in[0], rows); });
}

TEST(OpGradient, ConcatRows) {
  expect_gradients({normal_tensor({2, 3}, "a"), normal_tensor({4, 3}, "b")},
                   [](const Inputs& in) { return ops::concat_rows(in[0], in[1]); });
  expect_gradients({normal_tensor({2, 3}, "a")},
                   [](const Inputs& in) { return ops::concat_rows(in[0], in[0]); });
}

TEST(OpGradient, ConcatRowsWithAnEmptySide) {
  const Tensor none = Tensor::zeros({0, 3}, DType::f64);
  expect_gradients({normal_tensor({2, 3}, "a")},
                   [&](const Inputs& in) { return ops::concat_rows(in[0], Var(none, true)); });
  expect_gradients({normal_tensor({2, 3}, "a")},
                   [&](const Inputs& in) { return ops::concat_rows(Var(none, true), in[0]); });
}

// Token 1 has no assignment; rows and weights come in an order of their own; row 1 has none.
TEST(OpGradient, CombineRows) {
  const ops::CombinePlan plan{.token_offsets_T1 = indices({0, 2, 2, 5}),
                              .row_of_N = indices({3, 0, 5, 4, 2}),
                              .weight_of_N = indices({1, 0, 3, 2, 4})};
  expect_gradients({normal_tensor({6, 3}, "rows"), normal_tensor({5, 1}, "w")},
                   [&](const Inputs& in) { return ops::combine_rows(in[0], in[1], plan); });
}

TEST(OpGradient, CombineRowsOfAValueWithAnotherUse) {
  const ops::CombinePlan plan{.token_offsets_T1 = indices({0, 2, 3}),
                              .row_of_N = indices({1, 0, 2}),
                              .weight_of_N = indices({1, 0, 2})};
  for (const bool combine_last : {false, true}) {
    SCOPED_TRACE(combine_last);
    expect_gradients({normal_tensor({3, 4}, "rows"), normal_tensor({3, 1}, "w")},
                     [&](const Inputs& in) {
                       const Var scaled = ops::scale(in[0], 2);
                       auto combined = [&] { return ops::combine_rows(scaled, in[1], plan); };
                       auto other = [&] { return ops::gather_rows(scaled, indices({1, 1})); };
                       if (combine_last) {
                         const Var o = other();
                         return ops::add(o, combined());
                       }
                       const Var c = combined();
                       return ops::add(other(), c);
                     });
  }
}

TEST(OpGradient, SelectElements) {
  const Tensor rows = indices({0, 2, 2, 1, 2}), columns = indices({3, 0, 1, 1, 0});
  expect_gradients({normal_tensor({3, 4}, "x")},
                   [&](const Inputs& in) { return ops::select_elements(in[0], rows, columns); });
}

Tensor positive(Shape shape, std::string_view name) {
  Tensor x = normal_tensor(shape, name);
  for (double& v : x.data<double>()) v = 0.2 + std::abs(v);
  return x;
}

// Assignments in expert order: a token's are not next to each other. Token 3 has none.
TEST(OpGradient, NormalizePerToken) {
  const Tensor token = indices({0, 1, 2, 0, 2, 2});
  expect_gradients({positive({6, 1}, "w")},
                   [&](const Inputs& in) { return ops::normalize_per_token(in[0], token, 4); });
}

TEST(OpGradient, SoftmaxPerToken) {
  const Tensor token = indices({0, 1, 2, 0, 2, 2});
  expect_gradients({normal_tensor({6, 1}, "z")},
                   [&](const Inputs& in) { return ops::softmax_per_token(in[0], token, 4); });
}

TEST(NormalizePerToken, ATokenWithoutWeightGetsZeroAndNoNan) {
  const Var y =
      ops::normalize_per_token(Var(Tensor::zeros({2, 1}, DType::f64)), indices({0, 0}), 1);
  EXPECT_EQ(y.value().data<double>()[0], 0);
  EXPECT_EQ(y.value().data<double>()[1], 0);
}

}  // namespace
}  // namespace moe
