// SPDX-License-Identifier: MIT
#include "moe/study/router_selftest.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "moe/autograd/tape.h"
#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/parallel.h"
#include "moe/base/rng.h"
#include "moe/eval/parity.h"
#include "moe/families/model_folder.h"
#include "moe/io/checkpoint.h"
#include "moe/nn/init.h"
#include "moe/nn/moe/assignment_router.h"
#include "moe/nn/moe/moe_layer.h"
#include "moe/nn/moe/router_cases.h"
#include "moe/nn/moe/routers.h"

namespace moe {
namespace {

// A check throws Failed or Skipped; what() says why.
struct Failed : Error {
  using Error::Error;
};
struct Skipped : Error {
  using Error::Error;
};
template <class... T>
void want(bool ok, const T&... text) {
  if (!ok) throw Failed(str(text...));
}

Tensor random_matrix(int64_t rows, int64_t cols, uint64_t seed, DType dtype = DType::f64) {
  const RngStream rng(seed, 0, "router selftest");
  const Tensor t = Tensor::empty({rows, cols}, DType::f64);
  for (int64_t i = 0; i < rows * cols; ++i) t.data<double>()[size_t(i)] = rng.normal(i, 0);
  return t.to(dtype);
}

ForwardContext context(const std::vector<int64_t>& lengths, bool training = false) {
  std::vector<std::vector<int32_t>> ids;
  int32_t id = 0;
  for (const int64_t n : lengths) {
    ids.emplace_back();
    for (int64_t i = 0; i < n; ++i) ids.back().push_back(id++);
  }
  ForwardContext ctx = pack_sequences(ids);
  ctx.training = training;
  return ctx;
}

std::vector<Parameter> parameters_of(const Router& router) {
  std::vector<Parameter> out;
  Visitor v;
  v.parameter = [&](const Parameter& p) { out.push_back(p); };
  router.visit(v);
  return out;
}

// A router with random parameters of its own.
std::unique_ptr<Router> random_router(const MoeConfig& c, int64_t width, DType dtype) {
  auto router = make_router(c, width, dtype);
  uint64_t seed = 100;
  for (const Parameter& p : parameters_of(*router))
    for (const Piece& piece : p.pieces) {
      const Shape shape = piece_shape(p, piece);
      write_piece(
          p.var.value(), piece,
          random_matrix(shape.numel() / shape[-1], shape[-1], seed++, dtype).reshape(shape));
    }
  return router;
}

// The layer's path without weights: rows through a function that is not linear, and back.
Var around(const Routing& routing, const Var& x_TD) {
  const ExpertRows rows = routing.dispatch->dispatch(x_TD);
  const Var in = rows.rows_RD();
  const Tensor y = Tensor::empty(in.shape(), in.dtype());
  const bool f64 = in.dtype() == DType::f64;
  for (size_t i = 0; i < size_t(y.numel()); ++i) {
    if (f64)
      y.data<double>()[i] = std::tanh(in.value().data<double>()[i]);
    else
      y.data<float>()[i] = std::tanh(in.value().data<float>()[i]);
  }
  const Var out = record("tanh", y, {in}, [=](const Tensor& dy) {
    for (size_t i = 0; i < size_t(y.numel()); ++i) {
      if (f64)
        in.grad().data<double>()[i] +=
            dy.data<double>()[i] * (1 - y.data<double>()[i] * y.data<double>()[i]);
      else
        in.grad().data<float>()[i] +=
            dy.data<float>()[i] * (1 - y.data<float>()[i] * y.data<float>()[i]);
    }
  });
  return routing.dispatch->combine(out, x_TD);
}

std::map<std::pair<int, int>, double> weights_of(const Routing& r) {
  std::map<std::pair<int, int>, double> out;
  for (size_t a = 0; a < r.kept.size(); ++a)
    out[{r.kept[a].token, r.kept[a].expert}] = score_at(r.weight_A1.value(), int64_t(a), 0);
  return out;
}

void known_answer(const RouterCase& c) {
  if (!c.picks_tokens) throw Skipped("slots mix tokens; nothing is picked");
  if (!c.has_scores) throw Skipped("routes are fixed");
  const Tensor logits = Tensor::empty({3, 4}, DType::f64);
  for (int64_t t = 0; t < 3; ++t)
    for (int64_t e = 0; e < 4; ++e)
      logits.view().at<double>(t, e) = std::log(kRouterCaseCounts[size_t(t)][size_t(e)]);
  const Routing r =
      make_router(config_of(c), 4, DType::f64)->route_logits(Var(logits), context({3}));
  const auto got = weights_of(r);
  want(got.size() == c.picks.size(), got.size(), " picks, wanted ", c.picks.size());
  for (const RouterCase::Known& k : c.picks) {
    const auto it = got.find({k.token, k.expert});
    want(it != got.end(), "token ", k.token, " does not take expert ", k.expert);
    want(std::fabs(it->second - k.weight) < 1e-13, "token ", k.token, ", expert ", k.expert,
         ": weight ", it->second, ", wanted ", k.weight);
  }
  want(std::fabs(r.stats.balance_loss - 0.5 * c.balance) < 1e-13, "balance loss ",
       r.stats.balance_loss / 0.5, ", wanted ", c.balance);
  want(std::fabs(r.stats.z_loss - 0.25 * std::log(10) * std::log(10)) < 1e-13, "z-loss ",
       r.stats.z_loss / 0.25);
}

// Central differences in float64, both terms of h^2 cancelled, for x and every parameter.
void gradient(const RouterCase& c) {
  for (const bool training : {false, true}) {
    const Tensor x = random_matrix(5, 6, 8), dy = random_matrix(5, 6, 9);
    const auto router = random_router(config_of(c), 6, DType::f64);
    const ForwardContext ctx = context({3, 2}, training);
    const auto loss = [&] {
      const Routing routing = router->route(Var(x), ctx);
      const Tensor y = around(routing, Var(x)).value();
      double sum = routing.aux_loss.value().data<double>()[0];
      for (size_t i = 0; i < size_t(y.numel()); ++i)
        sum += dy.data<double>()[i] * y.data<double>()[i];
      return sum;
    };
    const Var input(x.clone(), true);
    {
      Tape tape;
      const Routing routing = router->route(input, ctx);
      const Var y = around(routing, input);
      std::copy(dy.data<double>().begin(), dy.data<double>().end(),
                y.grad().data<double>().begin());
      routing.aux_loss.grad().data<double>()[0] = 1;
      tape.backward_from_grads();
    }
    const auto check = [&](double& value, double analytic, const std::string& what) {
      const double old = value;
      const auto slope = [&](double h) {
        value = old + h;
        const double above = loss();
        value = old - h;
        const double below = loss();
        value = old;
        return (above - below) / (2 * h);
      };
      const double numeric = (4 * slope(1e-3) - slope(2e-3)) / 3;
      want(std::fabs(analytic - numeric) <= 1e-6 * std::max(1e-2, std::fabs(numeric)), what,
           training ? " in training" : "", ": gradient ", analytic, ", central difference ",
           numeric);
    };
    for (size_t i = 0; i < size_t(x.numel()); ++i)
      check(x.data<double>()[i], input.grad().data<double>()[i], str("x[", i, "]"));
    for (const Parameter& p : parameters_of(*router)) {
      const std::span<double> w = p.var.value().data<double>(), dw = p.var.grad().data<double>();
      const bool panels = p.var.value().layout() != Layout::row_major;
      const int64_t rows = panels ? p.var.value().panel_map().rows : 1,
                    cols = panels ? p.var.value().panel_map().cols : p.var.value().numel();
      for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < cols; ++j) {
          const size_t at = size_t(panels ? p.var.value().panel_map().offset(i, j) : j);
          check(w[at], dw[at], str(p.name, "[", i, ",", j, "]"));
        }
    }
  }
}

// Each token in turn gets other numbers: nothing before it in its sequence moves, nor another
// sequence; a router that declares itself not causal must move something.
void causality(const RouterCase& c) {
  for (const bool training : {false, true}) {
    const auto router = random_router(config_of(c), 6, DType::f64);
    const bool causal = router->causal(training);
    want(causal == (c.causal && (!training || c.causal_in_training)), "declares itself ",
         causal ? "causal" : "not causal", training ? " in training" : "");
    bool earlier_moved = false;
    for (uint64_t seed = 0; seed < 4; ++seed) {
      const ForwardContext ctx = context({6, 5}, training);
      const Tensor x = random_matrix(11, 6, seed);
      const Tensor before = around(router->route(Var(x), ctx), Var(x)).value();
      for (int64_t changed = 0; changed < 11; ++changed) {
        const Tensor moved = x.clone();
        for (double& v : moved.rows(changed, changed + 1).data<double>()) v = 3 - 2 * v;
        const Tensor after = around(router->route(Var(moved), ctx), Var(moved)).value();
        for (int64_t t = 0; t < 11; ++t) {
          if (t == changed) continue;
          const bool same = same_bits(before.rows(t, t + 1).clone(), after.rows(t, t + 1).clone());
          const bool same_sequence = (t < 6) == (changed < 6);
          want(same || (same_sequence && !(causal && t < changed)), "token ", changed,
               " moves token ", t, training ? " in training" : "");
          earlier_moved = earlier_moved || (!same && t < changed);
        }
      }
    }
    want(causal || earlier_moved,
         "declares itself not causal, but no later token moves an earlier one");
  }
}

void tie_break(const RouterCase& c) {
  if (!c.picks_tokens || !c.has_scores) throw Skipped("no scores of a token and an expert");
  const Routing r = make_router(config_of(c), 4, DType::f64)
                        ->route_logits(Var(Tensor::zeros({3, 4}, DType::f64)), context({3}));
  RouterCase::Places got, wanted = c.equal_scores;
  for (const Pick& p : r.picks) got.emplace_back(p.token, p.expert);
  std::sort(got.begin(), got.end());
  std::sort(wanted.begin(), wanted.end());
  want(got == wanted, "equal scores do not go to the lower index");
}

// Rows that are no tokens: picks, statistics, losses and sums are those of the tokens alone.
void padding(const RouterCase& c) {
  const auto router = random_router(config_of(c), 6, DType::f64);
  const Tensor alone = random_matrix(6, 6, 4);
  ForwardContext plain = context({6});
  const Routing expected = router->route(Var(alone), plain);
  const Tensor y_alone = around(expected, Var(alone)).value();
  const std::vector<uint8_t> valid = {0, 1, 1, 0, 1, 1, 0, 1, 1, 0};
  const Tensor x = Tensor::empty({10, 6}, DType::f64);
  ForwardContext ctx = context({10});
  std::vector<int32_t> positions, ids;
  int64_t i = 0;
  for (int64_t t = 0; t < 10; ++t) {
    positions.push_back(int32_t(valid[size_t(t)] ? i : 0));
    ids.push_back(int32_t(valid[size_t(t)] ? i : 3));
    for (int64_t d = 0; d < 6; ++d)
      x.view().at<double>(t, d) = valid[size_t(t)] ? alone.view().at<double>(i, d) : 1e6;
    i += valid[size_t(t)];
  }
  ctx.valid_T = Tensor::from<uint8_t>({10}, valid);
  ctx.positions_T = Tensor::from<int32_t>({10}, positions);
  ctx.token_ids_T = Tensor::from<int32_t>({10}, ids);
  const Routing got = router->route(Var(x), ctx);
  const Tensor y = around(got, Var(x)).value();
  want(got.stats == expected.stats, "statistics count padding");
  want(got.aux_loss.value().data<double>()[0] == expected.aux_loss.value().data<double>()[0],
       "the loss counts padding");
  i = 0;
  for (int64_t t = 0; t < 10; ++t)
    if (valid[size_t(t)]) {
      want(same_bits(y.rows(t, t + 1).clone(), y_alone.rows(i, i + 1).clone()),
           "padding changes the output of token ", i);
      ++i;
    }
}

ModelConfig model_of(const RouterCase& c) {
  ModelConfig m;
  m.n_layers = 2;
  m.d_model = 24;
  m.n_heads = 2;
  m.n_kv_heads = 1;
  m.head_dim = 12;
  m.d_ff = 20;
  m.max_seq_len = 70;
  m.vocab_size = 33;
  m.has_moe = true;
  m.moe = config_of(c);
  m.moe.d_ff = 11;
  return m;
}

// One expert is out of reach: its gradient is 0, nothing crashes; without any token neither.
void empty_expert(const RouterCase& c) {
  ModelConfig m = model_of(c);
  m.d_model = 6;
  const MoeLayer layer(m, DType::f64);
  std::vector<Parameter> parameters;
  Visitor v;
  v.parameter = [&](const Parameter& p) { parameters.push_back(p); };
  layer.visit(v);
  uint64_t seed = 50;
  for (const Parameter& p : parameters)
    for (const Piece& piece : p.pieces) {
      const Shape shape = piece_shape(p, piece);
      const Tensor w = random_matrix(shape.numel() / shape[-1], shape[-1], seed++);
      if (p.role == Role::router && w.size(0) > 1)
        for (int64_t d = 0; d < w.size(1); ++d) w.view().at<double>(1, d) = -50;
      write_piece(p.var.value(), piece, w.reshape(shape));
    }
  for (const int64_t T : {int64_t{7}, int64_t{0}}) {
    Tensor x = random_matrix(T, 6, 3);
    for (double& value : x.data<double>()) value = 0.1 + std::fabs(value);
    for (const Parameter& p : parameters) p.var.clear_grad();
    const Var input(x, true);
    Tape tape;
    const MoeOutput out = layer(input, context({T}));
    for (double& g : out.y_TD.grad().data<double>()) g = 1;
    out.aux_loss.grad().data<double>()[0] = 1;
    tape.backward_from_grads();
    for (const Parameter& p : parameters) {
      if (p.role == Role::router || p.role == Role::scale) continue;
      for (const Piece& piece : p.pieces) {
        if (piece.name.find("experts.") == std::string::npos) continue;
        double largest = 0;
        for (const double g : read_piece(p.var.grad(), piece).data<double>()) {
          want(std::isfinite(g), piece.name, ": gradient is not finite");
          largest = std::max(largest, std::fabs(g));
        }
        const bool empty = T == 0 || out.stats.counts_E[size_t(piece.matrix)] == 0;
        want(!empty || largest == 0, piece.name, ": an expert without tokens has a gradient");
      }
    }
  }
}

void capacity(const RouterCase& c) {
  MoeConfig m = config_of(c);
  if (m.router == "expert_choice" || !c.picks_tokens)
    throw Skipped("experts are full by construction");
  m.capacity_factor = 0.6;
  m.capacity_tokens = 24;
  const int64_t C = expert_capacity(m, 0.6, 24);
  for (const char* order : {"slot_major", "bpr", "token_major", "probability"}) {
    m.capacity_order = order;
    const Routing r =
        random_router(m, 6, DType::f64)->route(Var(random_matrix(24, 6, 11)), context({24}, true));
    std::vector<int64_t> kept(size_t(m.n_experts), 0), all(size_t(m.n_experts), 0);
    for (const Pick& p : r.kept)
      if (p.expert < m.n_experts) ++kept[size_t(p.expert)];
    for (const Pick& p : r.picks)
      if (p.expert < m.n_experts) ++all[size_t(p.expert)];
    for (size_t e = 0; e < kept.size(); ++e) {
      want(kept[e] <= C, order, ": expert ", e, " keeps ", kept[e], " of at most ", C);
      want(all[e] - kept[e] == r.stats.dropped_E[e], order, ": expert ", e, " lost ",
           all[e] - kept[e], " picks and counts ", r.stats.dropped_E[e]);
      want(kept[e] == std::min(all[e], C), order, ": expert ", e, " has room left and drops");
    }
    const bool causal = c.causal && c.causal_in_training && std::string(order) == "token_major";
    want(random_router(m, 6, DType::f64)->causal(true) == causal, order, " declares itself ",
         causal ? "not causal" : "causal");
  }
}

void determinism(const RouterCase& c) {
  const ModelConfig m = model_of(c);
  const TransformerLM model(m);
  initialize(model, 3);
  std::vector<int32_t> a, b;
  for (int32_t i = 0; i < 60; ++i) a.push_back(i * 7 % 33), b.push_back(i * 5 % 33);
  Tensor first;
  for (const int threads : {1, 2, 8, 1, 2, 8}) {
    set_threads(threads);
    const Tensor logits = model.logits(model(pack_sequences({a, b})).hidden_TD).value();
    set_threads(0);
    if (!first) first = logits;
    want(same_bits(first, logits), threads, " threads change the logits");
  }
}

void save_load(const RouterCase& c) {
  const TransformerLM model(model_of(c));
  initialize(model, 3);
  // Buffers that differ from what a new router has.
  for (const Buffer& b : model.buffers())
    for (size_t i = 0; i < size_t(b.value.numel()); ++i)
      b.value.data<float>()[i] = 0.01f * float(i + 1);
  std::string folder = (std::filesystem::temp_directory_path() / "moe-selftest-XXXXXX").string();
  MOE_CHECK(mkdtemp(folder.data()), "[selftest] cannot make a folder in ",
            std::filesystem::temp_directory_path().string());
  struct Remove {
    std::string path;
    ~Remove() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
  } remove{folder};
  CheckpointWriter writer(real_fs(), folder, 1);
  write_model_files(
      [&](const std::string& name, const ByteProducer& content) { writer.add_file(name, content); },
      model, nullptr, {}, {});
  const ModelFolder loaded = load_model_folder(writer.commit(1));
  const ForwardContext ctx = context({30});
  want(same_bits(model.logits(model(ctx).hidden_TD).value(),
                 loaded.model->logits((*loaded.model)(ctx).hidden_TD).value()),
       "the model read again gives other logits");
}

void generation_parity(const RouterCase& c) {
  const ModelConfig m = model_of(c);
  const TransformerLM model(m);
  if (!model.causal(false)) throw Skipped("not causal: generation refuses it");
  initialize(model, 3);
  const ParityReport r = check_parity(model, all_f32_tables(), 1);
  want(r.differing_bits == 0, r.differing_bits, " differing bits: ", r.first_difference);
}

struct Check {
  const char* name;
  void (*run)(const RouterCase&);
};
constexpr Check kChecks[] = {
    {"known_answer", known_answer}, {"gradient", gradient},
    {"causality", causality},       {"tie_break", tie_break},
    {"padding", padding},           {"empty_expert", empty_expert},
    {"capacity", capacity},         {"determinism", determinism},
    {"save_load", save_load},       {"generation_parity", generation_parity}};

}  // namespace

std::vector<SelftestResult> router_selftest(const std::string& name,
                                            const std::function<void(double)>& progress) {
  std::vector<std::string> names = router_names();
  if (name != "all") {
    MoeConfig c;
    c.router = name;
    if (std::find(names.begin(), names.end(), name) == names.end())
      make_router(c, 16, DType::f32);  // names the nearest
    names = {name};
  }
  std::vector<SelftestResult> out;
  for (size_t i = 0; i < names.size(); ++i) {
    const auto& cases = router_cases();
    const auto found = std::find_if(cases.begin(), cases.end(),
                                    [&](const RouterCase& c) { return names[i] == c.name; });
    if (found == cases.end()) {
      out.push_back({names[i], "known_answer", false, false, "no case is known for this router"});
      continue;
    }
    for (const Check& check : kChecks) {
      SelftestResult r{names[i], check.name, true, false, ""};
      try {
        check.run(*found);
      } catch (const Skipped& e) {
        r.skipped = true;
        r.message = e.what();
      } catch (const std::exception& e) {
        r.passed = false;
        r.message = e.what();
      }
      set_threads(0);
      out.push_back(r);
    }
    if (progress) progress(double(i + 1) / double(names.size()));
  }
  return out;
}

}  // namespace moe
