// SPDX-License-Identifier: MIT
// What every router of the table must be: one line a router in conformance_list(), and the same
// tests for all of them. A router without a line fails.
#include <algorithm>
#include <cmath>

#include "moe/base/parallel.h"
#include "moe/nn/init.h"
#include "moe/nn/moe/moe_layer.h"
#include "moe/nn/moe/router_cases.h"
#include "moe/ops/activation.h"
#include "moe/ops/elementwise.h"

#include "router_testing.h"

namespace moe {
namespace {

using testing::choices;
using testing::context;
using testing::identity_router;
using testing::matrix;
using testing::parameters_of;
using testing::Rows;
using testing::scalar;
using testing::weights;
using Line = RouterCase;
using Known = RouterCase::Known;
using Places = RouterCase::Places;

const Rows& kCounts = kRouterCaseCounts;
const std::vector<Line>& conformance_list() { return router_cases(); }

Routing route_logits(const Line& line, const Tensor& logits_TE, const ForwardContext& ctx) {
  return make_router(config_of(line), 4, DType::f64)->route_logits(Var(logits_TE), ctx);
}

// From logits where there are logits of tokens and experts, else from the tokens themselves.
Routing route_either(const Line& line, const Router& router, const Tensor& x,
                     const ForwardContext& ctx) {
  return line.picks_tokens ? router.route_logits(Var(x), ctx) : router.route(Var(x), ctx);
}

template <class F>
void for_each_router(F f) {
  for (const Line& line : conformance_list()) {
    SCOPED_TRACE(line.name);
    f(line);
  }
}

Rows logs(Rows rows) {
  for (auto& row : rows)
    for (double& v : row) v = std::log(v);
  return rows;
}

Tensor random_logits(int64_t T, int64_t E, uint64_t seed, DType dtype = DType::f64) {
  const RngStream rng(seed, 0, "router test");
  Rows rows(static_cast<size_t>(T), std::vector<double>(static_cast<size_t>(E)));
  for (int64_t t = 0; t < T; ++t)
    for (int64_t e = 0; e < E; ++e) rows[size_t(t)][size_t(e)] = rng.normal(t, e);
  return T == 0 ? Tensor::zeros({0, E}, dtype) : matrix(rows, dtype);
}

// The layer without its weights: rows through a function that is not linear, and back.
Var around(const Routing& routing, const Var& x_TD) {
  const ExpertRows rows = routing.dispatch->dispatch(x_TD);
  return routing.dispatch->combine(ops::activation(rows.rows_RD(), Activation::silu), x_TD);
}

TEST(RouterConformance, EveryRouterOfTheTableHasALineHere) {
  std::vector<std::string> tested;
  for (const Line& line : conformance_list()) tested.emplace_back(line.name);
  EXPECT_EQ(tested, router_names());
}

TEST(RouterConformance, PicksWeightsAndLossesOfAKnownCase) {
  for_each_router([](const Line& line) {
    if (!line.has_scores || !line.picks_tokens) return;
    const Tensor x = matrix(logs(kCounts));
    const Routing routing = route_logits(line, x, context({3}));
    std::map<std::pair<int, int>, double> want;
    std::vector<int64_t> counts(4, 0);
    for (const Known& k : line.picks)
      want[{k.token, k.expert}] = k.weight, ++counts[size_t(k.expert)];
    ASSERT_EQ(routing.picks.size(), want.size());
    EXPECT_TRUE(std::ranges::is_sorted(routing.picks));
    for (const Pick& p : routing.picks)
      EXPECT_TRUE(want.contains({p.token, p.expert})) << p.token << " takes " << p.expert;
    for (const auto& [place, weight] : weights(routing, x))
      EXPECT_NEAR(weight, want[place], 1e-14) << place.first << " takes " << place.second;
    // Identity experts give their weight times x, without a row.
    const ExpertRows rows = routing.dispatch->dispatch(Var(x));
    const Tensor y =
        routing.dispatch->combine(Var(Tensor::zeros(rows.rows_RD().shape(), DType::f64)), Var(x))
            .value();
    for (int t = 0; t < 3; ++t)
      for (int d = 0; d < 4; ++d) {
        double expected = 0;
        for (int e = 4 - int(line.n_identity); e < 4; ++e)
          if (want.contains({t, e})) expected += want[{t, e}] * x.view().at<double>(t, d);
        EXPECT_NEAR(y.view().at<double>(t, d), expected, 1e-14);
      }
    EXPECT_EQ(routing.stats.counts_E, counts);
    EXPECT_EQ(routing.stats.n_tokens, 3);
    const double z = std::log(10) * std::log(10);
    EXPECT_NEAR(routing.stats.balance_loss, 0.5 * line.balance, 1e-14);
    EXPECT_NEAR(routing.stats.z_loss, 0.25 * z, 1e-14);
    EXPECT_NEAR(scalar(routing.aux_loss), 0.5 * line.balance + 0.25 * z, 1e-14);
  });
}

TEST(RouterConformance, MatricesAreThoseThatTheConfigurationCounts) {
  for_each_router([](const Line& line) {
    std::vector<std::array<int64_t, 2>> made;
    for (const Parameter& p : parameters_of(*make_router(config_of(line), 6, DType::f32))) {
      const Shape shape = piece_shape(p, p.pieces.at(0));
      made.push_back({shape.numel() / shape[-1], shape[-1]});
    }
    EXPECT_EQ(made, router_matrices(config_of(line), 6));
  });
}

// The first choice of a token is its best expert.
TEST(RouterConformance, ChoicesAreNumberedFromTheBest) {
  for_each_router([](const Line& line) {
    if (line.name == std::string("expert_choice") || !line.picks_tokens) return;
    const Routing routing = route_logits(line, matrix(logs(kCounts)), context({3}));
    const auto choice = choices(routing.picks);
    std::map<int, int> next;
    for (const Known& k : line.picks) EXPECT_EQ(choice.at({k.token, k.expert}), next[k.token]++);
  });
}

TEST(RouterConformance, TiesGoToTheLowerIndex) {
  for_each_router([](const Line& line) {
    if (!line.has_scores || !line.picks_tokens) return;
    const Routing routing = route_logits(line, Tensor::zeros({3, 4}, DType::f64), context({3}));
    Places got;
    for (const Pick& p : routing.picks) got.emplace_back(p.token, p.expert);
    Places want = line.equal_scores;
    std::ranges::sort(got);
    std::ranges::sort(want);
    EXPECT_EQ(got, want);
  });
}

// Two sequences; each token in turn gets other logits. In a causal router nothing before it in its
// sequence and nothing in the other sequence moves; in one that is not, something before it does.
TEST(RouterConformance, CausalMeansThatLaterTokensMoveNothingBefore) {
  for_each_router([](const Line& line) {
    for (const bool training : {false, true}) {
      const bool causal = training ? line.causal && line.causal_in_training : line.causal;
      const auto router = make_router(config_of(line), 4, DType::f64);
      EXPECT_EQ(router->causal(training), causal);
      ForwardContext ctx = context({6, 5});
      ctx.training = training;
      bool earlier_moved = false;
      for (uint64_t seed = 0; seed < 4; ++seed) {
        const Tensor x = random_logits(11, 4, seed);
        const Routing before = route_either(line, *router, x, ctx);
        const Tensor y_before = around(before, Var(x)).value();
        for (int64_t changed = 0; changed < 11; ++changed) {
          const Tensor moved = x.clone();
          for (double& v : moved.rows(changed, changed + 1).data<double>()) v = 3 - 2 * v;
          const Routing after = route_either(line, *router, moved, ctx);
          const Tensor y_after = around(after, Var(moved)).value();
          const auto picks_before = choices(before.picks), picks_after = choices(after.picks);
          for (int64_t t = 0; t < 11; ++t) {
            if (t == changed) continue;
            const bool same_sequence = (t < 6) == (changed < 6);
            bool same = same_bits(y_before.rows(t, t + 1).clone(), y_after.rows(t, t + 1).clone());
            for (int e = 0; e < 4; ++e)
              same =
                  same && picks_before.contains({int(t), e}) == picks_after.contains({int(t), e});
            if (!same_sequence || (causal && t < changed))
              EXPECT_TRUE(same) << "token " << changed << " moved token " << t;
            else if (t < changed)
              earlier_moved = earlier_moved || !same;
          }
        }
      }
      EXPECT_EQ(earlier_moved, !causal);
    }
  });
}

struct LayerRun {
  MoeOutput out;
  std::vector<Tensor> grads;  // of x, then of every parameter
  std::vector<Parameter> parameters;
};

// A whole layer, forward and backward; expert 1 is one that no token likes when `starve`.
LayerRun run_layer(const Line& line, DType dtype, const Tensor& x, const ForwardContext& ctx,
                   bool starve = false) {
  ModelConfig c;
  c.d_model = x.size(1);
  c.d_ff = 8;
  c.has_moe = true;
  c.moe = config_of(line);
  c.moe.d_ff = 5;
  const MoeLayer layer(c, dtype);
  LayerRun run;
  Visitor v;
  v.parameter = [&](const Parameter& p) { run.parameters.push_back(p); };
  layer.visit(v);
  const RngStream rng(9, 0, "layer");
  for (size_t i = 0; i < run.parameters.size(); ++i)
    for (size_t j = 0; j < run.parameters[i].pieces.size(); ++j) {
      const Piece& piece = run.parameters[i].pieces[j];
      const Tensor w = Tensor::empty(piece_shape(run.parameters[i], piece), DType::f64);
      for (int64_t k = 0; k < w.numel(); ++k)
        w.data<double>()[size_t(k)] = rng.normal(k, int64_t(100 * i + j));
      if (run.parameters[i].role == Role::router && starve)
        for (int64_t d = 0; d < w.size(1); ++d)  // x is positive where this is used
          w.view().at<double>(1, d) = -50;
      write_piece(run.parameters[i].var.value(), piece, w.to(dtype));
    }
  const Var input(x.clone(), true);
  {
    Tape tape;
    run.out = layer(input, ctx);
    Tensor dy = random_logits(x.size(0), x.size(1), 77, dtype);
    if (dtype == DType::f64)
      std::ranges::copy(dy.data<double>(), run.out.y_TD.grad().data<double>().begin());
    else
      std::ranges::copy(dy.data<float>(), run.out.y_TD.grad().data<float>().begin());
    run.out.aux_loss.grad().data<double>()[0] = 1;
    tape.backward_from_grads();
  }
  run.grads.push_back(input.grad());
  for (const Parameter& p : run.parameters) run.grads.push_back(p.var.grad());
  return run;
}

double largest(const Tensor& x) {
  double most = 0;
  for (const double v : x.data<double>()) most = std::max(most, std::abs(v));
  return most;
}

TEST(RouterConformance, AnExpertWithoutTokensHasAZeroGradient) {
  for_each_router([](const Line& line) {
    Tensor x = random_logits(7, 6, 3);
    for (double& v : x.data<double>()) v = 0.1 + std::abs(v);
    const LayerRun run = run_layer(line, DType::f64, x, context({7}), true);
    EXPECT_EQ(run.out.stats.counts_E[1] == 0, line.may_starve);
    for (size_t i = 0; i < run.parameters.size(); ++i)
      for (const Piece& piece : run.parameters[i].pieces) {
        if (run.parameters[i].role == Role::router || run.parameters[i].role == Role::scale)
          continue;
        const bool empty = run.out.stats.counts_E[size_t(piece.matrix)] == 0;
        EXPECT_EQ(largest(read_piece(run.grads[i + 1], piece)) == 0, empty) << piece.name;
      }
  });
}

TEST(RouterConformance, NoTokensAndOnlyPaddingGiveZeros) {
  for_each_router([](const Line& line) {
    for (const int64_t T : {0, 3}) {
      ForwardContext ctx = context({T});
      ctx.valid_T = Tensor::zeros({T}, DType::u8);
      const LayerRun run = run_layer(line, DType::f64, random_logits(T, 6, 3), ctx);
      EXPECT_TRUE(run.out.picks.empty());
      EXPECT_EQ(scalar(run.out.aux_loss), 0);
      EXPECT_EQ(run.out.stats, RouterStats(4));
      EXPECT_EQ(largest(run.out.y_TD.value()), 0);
      for (const Tensor& grad : run.grads) EXPECT_EQ(largest(grad), 0);
    }
  });
}

TEST(RouterConformance, OneToken) {
  for_each_router([](const Line& line) {
    const LayerRun run = run_layer(line, DType::f64, random_logits(1, 6, 3), context({1}));
    // Token choice: k experts; expert choice: C = 1, so all of them.
    if (line.picks_of_one > 0) {
      EXPECT_EQ(run.out.picks.size(), line.picks_of_one);
    }
    EXPECT_GT(largest(run.grads[0]), 0);
  });
}

// Padding before, among and behind the tokens: picks, statistics, losses and gradients are those of
// the tokens alone, bit for bit, whatever numbers the padding holds.
TEST(RouterConformance, PaddingNeverCounts) {
  for_each_router([](const Line& line) {
    const std::vector<uint8_t> valid = {0, 1, 1, 0, 1, 1, 0, 1, 0, 1};
    const std::vector<int> places = {1, 2, 4, 5, 7, 9};
    const Tensor alone = random_logits(6, 6, 4);
    const LayerRun want = run_layer(line, DType::f64, alone, context({4, 2}));
    for (const double content : {0.0, 1e6}) {
      SCOPED_TRACE(content);
      ForwardContext ctx = context({6, 4});  // rows 0 ... 5 hold four tokens, 6 ... 9 two
      ctx.valid_T = Tensor::from<uint8_t>({10}, valid);
      ctx.positions_T =
          Tensor::from<int32_t>({10}, std::vector<int32_t>{0, 0, 1, 2, 2, 3, 0, 0, 1, 1});
      const Tensor x = Tensor::zeros({10, 6}, DType::f64);
      for (double& v : x.data<double>()) v = content;
      for (size_t i = 0; i < places.size(); ++i)
        std::ranges::copy(alone.rows(int64_t(i), int64_t(i) + 1).data<double>(),
                          x.rows(places[i], places[i] + 1).data<double>().begin());
      const LayerRun got = run_layer(line, DType::f64, x, ctx);
      ASSERT_EQ(got.out.picks.size(), want.out.picks.size());
      for (size_t i = 0; i < want.out.picks.size(); ++i) {
        Pick p = want.out.picks[i];
        p.token = places[size_t(p.token)];
        EXPECT_EQ(got.out.picks[i], p);
      }
      EXPECT_EQ(got.out.stats, want.out.stats);
      EXPECT_EQ(scalar(got.out.aux_loss), scalar(want.out.aux_loss));
      for (int64_t t = 0, i = 0; t < 10; ++t) {
        const Tensor y = got.out.y_TD.value().rows(t, t + 1).clone();
        if (valid[size_t(t)]) {
          EXPECT_TRUE(same_bits(y, want.out.y_TD.value().rows(i, i + 1).clone())) << t;
          ++i;
        } else {
          EXPECT_EQ(largest(y), 0) << t;
          EXPECT_EQ(largest(got.grads[0].rows(t, t + 1).clone()), 0) << t;
        }
      }
    }
  });
}

TEST(RouterConformance, RecordedPicksGiveTheSameLayerAgain) {
  for_each_router([](const Line& line) {
    const Tensor x = random_logits(9, 6, 5);
    ForwardContext ctx = context({5, 4});
    const LayerRun first = run_layer(line, DType::f64, x, ctx);
    auto replay = std::make_shared<RouterReplay>();
    replay->picks_of_layer[0] = first.out.picks;
    ctx.replay = replay;
    const LayerRun again = run_layer(line, DType::f64, x, ctx);
    EXPECT_EQ(again.out.picks, first.out.picks);
    EXPECT_TRUE(same_bits(again.out.y_TD.value(), first.out.y_TD.value()));
    for (size_t i = 0; i < first.grads.size(); ++i)
      EXPECT_TRUE(same_bits(again.grads[i], first.grads[i])) << i;
  });
}

TEST(RouterConformance, TheNumberOfThreadsChangesNoBit) {
  for_each_router([](const Line& line) {
    const Tensor x = random_logits(203, 17, 6, DType::f32);
    auto run = [&](int threads) {
      set_threads(threads);
      LayerRun r = run_layer(line, DType::f32, x, context({150, 53}));
      set_threads(0);
      return r;
    };
    const LayerRun want = run(1);
    for (const int threads : {2, 3}) {
      const LayerRun got = run(threads);
      EXPECT_EQ(got.out.picks, want.out.picks);
      EXPECT_EQ(got.out.stats, want.out.stats);
      EXPECT_EQ(scalar(got.out.aux_loss), scalar(want.out.aux_loss));
      EXPECT_TRUE(same_bits(got.out.y_TD.value(), want.out.y_TD.value()));
      for (size_t i = 0; i < want.grads.size(); ++i)
        EXPECT_TRUE(same_bits(got.grads[i], want.grads[i])) << i;
    }
  });
}

// The combined rows and both losses, in x (through experts, weights and scores) and in the gate. Of
// two central differences (4 D(h) - D(2 h)) / 3 cancels the term in h^2; 1e-11 of rounding is left.
void check_gradients(const Line& line, bool training) {
  const Tensor x = random_logits(5, 6, 8), dy = random_logits(5, 6, 9);
  const auto router = make_router(config_of(line), 6, DType::f64);
  for (const Parameter& gate : parameters_of(*router)) {
    const Shape shape = piece_shape(gate, gate.pieces.at(0));
    const Tensor w = random_logits(shape.numel() / shape[-1], shape[-1], 10);
    write_piece(gate.var.value(), gate.pieces.at(0), w.reshape(shape));
  }
  ForwardContext ctx = context({3, 2});
  ctx.training = training;  // draws, where there are any, are the same in every call
  auto loss = [&] {
    const Routing routing = router->route(Var(x), ctx);
    const Tensor y = around(routing, Var(x)).value();
    double sum = scalar(routing.aux_loss);
    for (size_t i = 0; i < size_t(y.numel()); ++i)
      sum += dy.data<double>()[i] * y.data<double>()[i];
    return sum;
  };
  const Var input(x.clone(), true);
  {
    Tape tape;
    const Routing routing = router->route(input, ctx);
    const Var y = around(routing, input);
    std::ranges::copy(dy.data<double>(), y.grad().data<double>().begin());
    routing.aux_loss.grad().data<double>()[0] = 1;
    tape.backward_from_grads();
  }
  auto check = [&](double& value, double analytic, const std::string& what) {
    const double old = value;
    auto slope = [&](double h) {
      value = old + h;
      const double above = loss();
      value = old - h;
      const double below = loss();
      value = old;
      return (above - below) / (2 * h);
    };
    const double numeric = (4 * slope(1e-3) - slope(2e-3)) / 3;
    EXPECT_NEAR(analytic, numeric, 1e-6 * std::max(1e-2, std::abs(numeric))) << what;
  };
  for (size_t i = 0; i < size_t(x.numel()); ++i)
    check(x.data<double>()[i], input.grad().data<double>()[i], str("x ", i));
  EXPECT_EQ(parameters_of(*router).empty(), !line.has_scores);
  for (const Parameter& gate : parameters_of(*router)) {
    if (gate.var.value().layout() == Layout::row_major) {
      for (size_t i = 0; i < size_t(gate.var.value().numel()); ++i)
        check(gate.var.value().data<double>()[i], gate.var.grad().data<double>()[i], gate.name);
      continue;
    }
    const PanelMap map = gate.var.value().panel_map();
    for (int64_t e = 0; e < map.rows; ++e)
      for (int64_t d = 0; d < map.cols; ++d) {
        const size_t place = size_t(map.offset(e, d));
        check(gate.var.value().data<double>()[place], gate.var.grad().data<double>()[place],
              str(gate.name, " ", e, " ", d));
      }
  }
}

TEST(RouterConformance, GradientsAreTheCentralDifferences) {
  for_each_router([](const Line& line) {
    check_gradients(line, false);
    check_gradients(line, true);
  });
}

}  // namespace
}  // namespace moe
