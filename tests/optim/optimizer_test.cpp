// SPDX-License-Identifier: MIT
// AdamW, SGD, L1, clipping and averaging by hand-checked sequences. p = [1, -2], three gradients;
// the numbers were computed with torch.optim 2.13 in float64 and by the formulas.
#include "moe/optim/optimizer.h"

#include <cmath>

#include "moe/base/parallel.h"
#include "moe/nn/init.h"
#include "moe/nn/transformer_lm.h"
#include "moe/optim/ema.h"
#include "moe/optim/grad_norm.h"

#include "tests/optim/optim_testing.h"

namespace moe {
namespace {

const std::vector<std::vector<double>> kGrads = {{.5, -1}, {.1, .3}, {-.2, 0}};

std::vector<std::vector<double>> run(const OptimConfig& config, double lr, Role role = Role::matrix,
                                     double grad_scale = 1, double grad_factor = 1) {
  const TestParameter p({1, -2}, role);
  const auto optimizer = make_optimizer(config, {p.parameter});
  std::vector<std::vector<double>> out;
  for (const std::vector<double>& grad : kGrads) {
    p.set_grad({grad[0] * grad_factor, grad[1] * grad_factor});
    optimizer->step(lr, grad_scale);
    out.push_back(p.values());
  }
  return out;
}

TEST(AdamW, FollowsThePublishedUpdate) {
  const auto p = run({.name = "adamw", .betas = {.9, .95}, .eps = 1e-8, .weight_decay = .1}, .1);
  expect_near(p[0], {.890000002, -1.880000001}, 1e-9);
  expect_near(p[1], {.7998471188, -1.8179587470}, 1e-10);
  expect_near(p[2], {.7567976398, -1.7659213533}, 1e-10);
}

TEST(AdamW, NormsBiasesAndScalesDoNotDecay) {
  const OptimConfig with = {.name = "adamw", .weight_decay = .1}, without = {.weight_decay = 0};
  for (const Role role : {Role::norm, Role::bias, Role::scale})
    EXPECT_EQ(run(with, .1, role), run(without, .1, role));
  for (const Role role : {Role::matrix, Role::embedding, Role::head, Role::router})
    EXPECT_NE(run(with, .1, role), run(without, .1, role));
}

TEST(AdamW, TheClipFactorScalesTheGradientFirst) {
  const OptimConfig config = {.name = "adamw"};
  const auto scaled = run(config, .1, Role::matrix, 0.25),
             direct = run(config, .1, Role::matrix, 1, 0.25);
  for (size_t i = 0; i < scaled.size(); ++i) EXPECT_EQ(scaled[i], direct[i]);
}

TEST(AdamW, GoesOnFromASavedState) {
  const OptimConfig config = {.name = "adamw"};
  const auto whole = run(config, .1);
  const TestParameter p({1, -2}, Role::matrix);
  const auto first = make_optimizer(config, {p.parameter});
  p.set_grad(kGrads[0]);
  first->step(.1, 1);
  const auto second = make_optimizer(config, {p.parameter});
  second->set_steps_done(first->steps_done());
  const std::vector<StateSlot> from = first->state(), to = second->state();
  ASSERT_EQ(from.size(), 2u);
  for (size_t i = 0; i < from.size(); ++i) {
    EXPECT_EQ(from[i].name, to[i].name);
    std::memcpy(to[i].value.raw(), from[i].value.raw(), size_t(from[i].value.stored_bytes()));
  }
  p.set_grad(kGrads[1]);
  second->step(.1, 1);
  EXPECT_EQ(p.values(), whole[1]);
}

TEST(Sgd, MomentumInPyTorchsForm) {
  const auto p = run({.name = "sgd", .momentum = .9, .nesterov = "false", .weight_decay = .1}, .1);
  expect_near(p[0], {.94, -1.88}, 1e-12);
  expect_near(p[1], {.8666, -1.7832}, 1e-12);
  expect_near(p[2], {.811874, -1.678248}, 1e-12);
}

// g + mu buf: first step p - lr (g + .9 g) with g = grad + .1 p.
TEST(Sgd, NesterovLooksAhead) {
  const auto p = run({.name = "sgd", .momentum = .9, .nesterov = "true", .weight_decay = .1}, .1);
  expect_near(p[0], {1 - .1 * 1.9 * .6, -2 + .1 * 1.9 * 1.2}, 1e-12);
  const double w = p[0][0], g = .1 + .1 * w, buf = .9 * .6 + g;
  EXPECT_NEAR(p[1][0], w - .1 * (g + .9 * buf), 1e-12);
}

// PyTorch's SGD has no Nesterov unless asked; its Muon has.
TEST(Sgd, NesterovIsOffUnlessAskedFor) {
  EXPECT_FALSE(uses_nesterov({.name = "sgd"}));
  EXPECT_TRUE(uses_nesterov({.name = "muon"}));
  EXPECT_TRUE(uses_nesterov({.name = "sgd", .nesterov = "true"}));
  EXPECT_FALSE(uses_nesterov({.name = "muon", .nesterov = "false"}));
  const OptimConfig plain{.name = "sgd", .momentum = .9, .weight_decay = .1};
  expect_near(run(plain, .1)[2], {.811874, -1.678248}, 1e-12);  // as in the first test
}

TEST(Sgd, PlainDescentWithoutMomentumOrDecay) {
  const auto p = run({.name = "sgd", .momentum = 0, .nesterov = "false", .weight_decay = 0}, .1);
  expect_near(p[2], {1 - .1 * (.5 + .1 - .2), -2 - .1 * (-1 + .3)}, 1e-12);
}

TEST(L1, AddsTheSignToWhatDecays) {
  const TestParameter w({1, -2, 0}, Role::matrix), norm({1, -2, 0}, Role::norm);
  for (const TestParameter* p : {&w, &norm}) p->set_grad({.5, .5, .5});
  add_l1_gradient({w.parameter, norm.parameter}, .25);
  const std::span<double> dw = w.parameter.var.grad().data<double>(),
                          dn = norm.parameter.var.grad().data<double>();
  expect_near({dw.begin(), dw.end()}, {.75, .25, .5}, 0);
  expect_near({dn.begin(), dn.end()}, {.5, .5, .5}, 0);
}

TEST(Clip, TheFactorIsPyTorchs) {
  EXPECT_DOUBLE_EQ(clip_factor(4, 1), 1 / (4 + 1e-6));
  EXPECT_EQ(clip_factor(0.5, 1), 1);
  EXPECT_EQ(clip_factor(1e30, 0), 1);  // 0: off
}

TEST(GradientNorm, CountsEachParameterOnceAndNoPads) {
  ModelConfig c;
  c.n_layers = 2;
  c.d_model = 20;
  c.n_heads = 2;
  c.n_kv_heads = 1;
  c.head_dim = 6;
  c.d_ff = 19;
  c.vocab_size = 31;
  c.has_moe = true;
  c.moe.n_experts = 3;
  c.moe.d_ff = 9;
  c.bias = true;
  const TransformerLM model(c);
  initialize(model, 4);
  double squares = 0;
  const std::vector<Parameter> parameters = model.parameters();
  for (const Parameter& p : parameters) {
    const Tensor& grad = p.var.grad();
    for (float& pad : grad.data<float>()) pad = 100;  // pads too: they must not be seen
    for (const Piece& piece : p.pieces) {
      const Tensor values = read_piece(p.var.value(), piece);
      for (const float x : values.data<float>()) squares += double(x) * double(x);
      write_piece(grad, piece, values);
    }
  }
  EXPECT_NEAR(gradient_norm(parameters), std::sqrt(squares), 1e-12 * std::sqrt(squares));
}

TEST(GradientNorm, DoesNotDependOnTheNumberOfThreads) {
  ModelConfig c;
  c.n_layers = 1;
  c.d_model = 96;
  c.vocab_size = 300;
  const TransformerLM model(c);
  initialize(model, 4);
  const std::vector<Parameter> parameters = model.parameters();
  for (const Parameter& p : parameters) accumulate(p.var.grad(), p.var.value());
  set_threads(1);
  const double one = gradient_norm(parameters);
  set_threads(3);
  EXPECT_EQ(gradient_norm(parameters), one);
  set_threads(0);
}

TEST(GradientNorm, IsNotFiniteWhenAGradientIsNot) {
  const TestParameter p({1, 2}, Role::matrix);
  p.set_grad({1, NAN});
  EXPECT_FALSE(std::isfinite(gradient_norm({p.parameter})));
}

TEST(WeightAverage, WarmsUpThenDecays) {
  const TestParameter p({1, -2}, Role::matrix);
  WeightAverage ema(0.3, {p.parameter});
  p.parameter.var.value().data<double>()[0] = 3;
  ema.update(1);  // d = min(.3, 2 / 11)
  const double e1 = 2.0 / 11 * 1 + 9.0 / 11 * 3;
  p.parameter.var.value().data<double>()[0] = 5;
  ema.update(100);  // d = .3
  ema.swap();
  expect_near(p.values(), {.3 * e1 + .7 * 5, -2}, 1e-12);
  ema.swap();
  expect_near(p.values(), {5, -2}, 0);
}

TEST(Optimizer, AnUnknownNameIsAnError) {
  EXPECT_THROW(make_optimizer({.name = "adam"}, {}), Error);
}

}  // namespace
}  // namespace moe
