// SPDX-License-Identifier: MIT
// Auxiliary losses of routers: gradients against central differences and against their formulas.
#include "moe/nn/moe/assignment_router.h"
#include "moe/nn/moe/balance_losses.h"
#include "moe/ops/softmax.h"

#include "router_testing.h"
#include "tests/ops/gradient_check.h"

namespace moe {
namespace {

using testing::context;
using testing::expect_gradients;
using testing::matrix;
using testing::normal_tensor;
using testing::scalar;
using Inputs = std::vector<Var>;

ForwardContext with_padding() {
  ForwardContext ctx = context({3, 2});
  const std::vector<uint8_t> valid = {1, 0, 1, 1, 0};
  ctx.valid_T = Tensor::from<uint8_t>({5}, valid);
  return ctx;
}

TEST(BalanceLossGradient, SwitchLoss) {
  const Tensor z = normal_tensor({5, 4}, "z");
  for (const ForwardContext& ctx : {context({5}), with_padding()})
    expect_gradients({z}, [&](const Inputs& in) {
      return switch_loss(ops::softmax(in[0]), {4, 0, 1, 5}, ctx);
    });
}

TEST(BalanceLossGradient, RouterZLoss) {
  for (const ForwardContext& ctx : {context({5}), with_padding()})
    expect_gradients({normal_tensor({5, 4}, "z", 2)},
                     [&](const Inputs& in) { return router_z_loss(in[0], ctx); });
}

TEST(BalanceLossGradient, NormalizeRows) {
  Tensor scores = normal_tensor({3, 5}, "scores");
  for (double& s : scores.data<double>()) s = 0.2 + std::abs(s);
  expect_gradients({scores}, [](const Inputs& in) { return normalize_rows(in[0]); });
}

// Four tokens, four experts, top 2. With f constant, d switch / d z[t, i] = E / T p_i (f_i - f.p)
// and d z-loss / d z[t, i] = 2 / T logsumexp_t p_i, from the definitions, by the chain rule.
TEST(BalanceLossGradient, FollowsTheFormulas) {
  const Tensor z =
      matrix({{2, 1, 0, -1}, {.3, 1.7, -.4, .9}, {-1.2, .6, 2.1, .2}, {1.1, -.7, .4, 1.6}});
  const std::vector<int64_t> counts = {2, 3, 1, 2};  // picks 0 1 | 1 3 | 2 1 | 3 0
  const Var input(z.clone(), true), again(z.clone(), true);
  double balance = 0, z_loss = 0, sum_fP = 0, sum_lse2 = 0;
  {
    Tape tape;
    const Var loss = switch_loss(ops::softmax(input), counts, context({4}));
    balance = scalar(loss);
    tape.backward(loss);
  }
  {
    Tape tape;
    const Var loss = router_z_loss(again, context({4}));
    z_loss = scalar(loss);
    tape.backward(loss);
  }
  for (int64_t t = 0; t < 4; ++t) {
    double sum = 0, fp = 0;
    for (int64_t e = 0; e < 4; ++e) sum += std::exp(z.view().at<double>(t, e));
    auto p = [&](int64_t e) { return std::exp(z.view().at<double>(t, e)) / sum; };
    auto f = [&](int64_t e) { return double(counts[size_t(e)]) / 8; };
    for (int64_t e = 0; e < 4; ++e) fp += f(e) * p(e);
    sum_fP += fp / 4;
    sum_lse2 += std::log(sum) * std::log(sum) / 4;
    for (int64_t e = 0; e < 4; ++e) {
      EXPECT_NEAR(input.grad().view().at<double>(t, e), p(e) * (f(e) - fp), 1e-15);
      EXPECT_NEAR(again.grad().view().at<double>(t, e), 0.5 * std::log(sum) * p(e), 1e-15);
    }
  }
  EXPECT_NEAR(balance, 4 * sum_fP, 1e-15);
  EXPECT_NEAR(z_loss, sum_lse2, 1e-14);
  EXPECT_LT(balance, 1);  // the value of perfect balance is no lower bound
}

}  // namespace
}  // namespace moe
