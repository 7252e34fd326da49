// SPDX-License-Identifier: MIT
// Mixture of LoRA experts: the sum written out, loads and losses, what is refused.
#include "moe/nn/moe/moe_lora.h"

#include <cmath>
#include <gtest/gtest.h>

#include "moe/nn/transformer_lm.h"

#include "tests/base/temp_folder.h"
#include "tests/families/model_testing.h"
#include "tests/families/oracle.h"

namespace moe {
namespace {

const LoraConfig kMixture = {
    .targets = "", .rank = 2, .alpha = 3, .moe_lora = {.n_experts = 4, .top_k = 2}};

void fill_normal(const std::vector<Parameter>& parameters, double size) {
  const RngStream draws(3, 0, "mixture");
  int64_t i = 0;
  for (const Parameter& p : parameters)
    for (const Piece& piece : p.pieces) {
      const Tensor values = Tensor::empty(piece_shape(p, piece), p.var.dtype());
      ++i;
      with_elements(values, [&](auto v) {
        using Number = std::remove_reference_t<decltype(v[0])>;
        for (size_t j = 0; j < v.size(); ++j) v[j] = Number(size * draws.normal(int64_t(j), i));
      });
      write_piece(p.var.value(), piece, values);
    }
}

using Matrix = std::vector<std::vector<double>>;

Matrix matrix(const Tensor& rows) {
  Matrix out;
  for (int64_t r = 0; r < rows.size(0); ++r) {
    out.emplace_back();
    for (int64_t c = 0; c < rows.size(1); ++c)
      out.back().push_back(element(rows, r * rows.size(1) + c));
  }
  return out;
}
std::vector<double> times(const Matrix& w, const std::vector<double>& x) {
  std::vector<double> y;
  for (const auto& row : w) {
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += row[i] * x[i];
    y.push_back(sum);
  }
  return y;
}
// W + s B A
Matrix adapted(Matrix w, const Matrix& b, const Matrix& a, double s) {
  for (size_t o = 0; o < w.size(); ++o)
    for (size_t i = 0; i < w[o].size(); ++i)
      for (size_t k = 0; k < a.size(); ++k) w[o][i] += s * b[o][k] * a[k][i];
  return w;
}

TEST(MoeLora, IsTheWeightedSumOfTheChosenNetworks) {
  constexpr int64_t D = 6, F = 5, T = 7;
  FeedForward dense({.d_ff = F, .activation = "swiglu", .bias = false}, D, DType::f64);
  std::vector<Parameter> weights;
  Visitor v;
  v.parameter = [&](const Parameter& p) { weights.push_back(p); };
  dense.visit(v);
  const auto router = make_mixture_router(kMixture.moe_lora, D, DType::f64);
  router->visit(v);
  // Parts of an adapter on the network's two weights.
  const auto part = [](int64_t targets, int64_t in, const std::vector<int64_t>& rows) {
    LoraPart p{.rank = 2, .scale = 1.5, .mixture = true, .targets = {}, .a = {}, .b = {}};
    p.a = Var(Tensor::zeros({4, 2 * targets, in}, DType::f64, Layout::panel16), true);
    for (size_t i = 0; i < rows.size(); ++i) {
      p.targets.push_back(i);
      p.b.emplace_back(Tensor::zeros({4, rows[i], 2}, DType::f64, Layout::panel16), true);
    }
    return p;
  };
  dense.up.lora->push_back(part(2, D, {F, F}));
  dense.down.lora->push_back(part(1, F, {D}));
  fill_normal(weights, 0.5);
  int64_t n = 0;
  const RngStream draws(8, 0, "pairs");
  const auto fill = [&](const Var& var) {
    for (int64_t e = 0; e < 4; ++e) {
      const Tensor values = Tensor::empty({var.shape()[-2], var.shape()[-1]}, DType::f64);
      ++n;
      for (int64_t i = 0; i < values.numel(); ++i)
        values.data<double>()[size_t(i)] = 0.5 * draws.normal(i, n);
      write_rows(var.value(), e, 0, values);
    }
  };
  for (const LoraPart* p : {&dense.up.lora->back(), &dense.down.lora->back()}) {
    fill(p->a);
    for (const Var& b : p->b) fill(b);
  }
  const Tensor x = Tensor::empty({T, D}, DType::f64);
  for (int64_t i = 0; i < x.numel(); ++i) x.data<double>()[size_t(i)] = draws.normal(i, -1);
  ForwardContext ctx = pack_sequences({{1, 2, 3, 4, 5, 6, 7}});
  ctx.adapter = 0;
  const MoeOutput out = moe_lora(dense, *router, Var(x), ctx);

  const auto rows = [](const Tensor& t, int64_t e, int64_t row, int64_t count) {
    return matrix(read_rows(t, e, row, count));
  };
  const Tensor& up = dense.up.weight.value();
  const LoraPart &on_up = dense.up.lora->back(), &on_down = dense.down.lora->back();
  const Matrix gate = matrix(read_piece(weights.back().var.value(), weights.back().pieces[0]));
  std::vector<int64_t> counts(4, 0);
  for (int64_t t = 0; t < T; ++t) {
    const std::vector<double> x_D = matrix(x)[size_t(t)], logits = times(gate, x_D);
    std::vector<size_t> best = {0, 1, 2, 3};
    std::sort(best.begin(), best.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
    const double w0 = 1 / (1 + std::exp(logits[best[1]] - logits[best[0]]));
    std::vector<double> y(D, 0);
    for (size_t i = 0; i < 2; ++i) {
      const auto e = int64_t(best[i]);
      ++counts[size_t(e)];
      const auto pair_of = [&](int64_t target) {
        return adapted(rows(up, 0, target * F, F), rows(on_up.b[size_t(target)].value(), e, 0, F),
                       rows(on_up.a.value(), e, 2 * target, 2), 1.5);
      };
      const std::vector<double> g = times(pair_of(0), x_D), u = times(pair_of(1), x_D);
      std::vector<double> h;
      for (size_t f = 0; f < size_t(F); ++f) h.push_back(g[f] / (1 + std::exp(-g[f])) * u[f]);
      const std::vector<double> down =
          times(adapted(rows(dense.down.weight.value(), 0, 0, D),
                        rows(on_down.b[0].value(), e, 0, D), rows(on_down.a.value(), e, 0, 2), 1.5),
                h);
      for (size_t d = 0; d < size_t(D); ++d) y[d] += (i == 0 ? w0 : 1 - w0) * down[d];
    }
    for (int64_t d = 0; d < D; ++d)
      EXPECT_NEAR(element(out.y_TD.value(), t * D + d), y[size_t(d)], 1e-12) << t << " " << d;
  }
  EXPECT_EQ(out.stats.counts_E, counts);
  EXPECT_EQ(out.picks.size(), size_t(2 * T));
}

TEST(MoeLora, ReportsLoadsAndABalanceLossThatReachesTheRouter) {
  TransformerLM model(small_dense());
  fill_random(model);
  freeze(model);
  const int adapter = add_adapter(model, kMixture, 1);
  model.use_adapter(adapter);
  Tape tape;
  const LmOutput out = model(pack_sequences({{1, 2, 3, 4, 5}}));
  ASSERT_EQ(out.moe_layers.size(), 2u);
  for (const LayerReport& layer : out.moe_layers) {
    EXPECT_EQ(layer.stats.n_tokens, 5);
    EXPECT_EQ(layer.picks.size(), 10u);
    EXPECT_GT(layer.stats.balance_loss, 0);
  }
  tape.backward(out.aux_loss);
  int n = 0;
  for (const Parameter& p : adapter_parameters(model, adapter)) {
    if (p.role != Role::router) continue;
    ++n;
    EXPECT_TRUE(p.var.has_grad()) << p.name;
  }
  EXPECT_EQ(n, 2);
  model.use_adapter(-1);
  EXPECT_TRUE(model(pack_sequences({{1, 2, 3}})).moe_layers.empty());
}

TEST(MoeLora, WhatDoesNotFitIsRefusedAndLeavesNothing) {
  const auto refused = [](const ModelConfig& config, const LoraConfig& lora) {
    TransformerLM model(config);
    const std::string error = error_of([&] { add_adapter(model, lora, 1); });
    EXPECT_EQ(model.n_adapters(), 0);
    for (const LoraSite& site : model.lora_sites()) EXPECT_TRUE(site.parts->empty());
    for (const MixtureSite& site : model.mixture_sites()) EXPECT_TRUE(site.routers->empty());
    return error;
  };
  EXPECT_NE(refused(small_moe(), kMixture).find("routed experts"), std::string::npos);
  LoraConfig lora = kMixture;
  lora.moe_lora.top_k = 5;
  EXPECT_NE(refused(small_dense(), lora).find("top_k is 5"), std::string::npos);
  lora = kMixture;
  lora.targets = "attention,up_proj";
  EXPECT_NE(refused(small_dense(), lora).find("'up_proj' names"), std::string::npos);
  lora = kMixture;
  lora.use_dora = true;
  EXPECT_NE(refused(small_dense(), lora).find("use_dora=false"), std::string::npos);
}

}  // namespace
}  // namespace moe
