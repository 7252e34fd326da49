// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <memory>

#include "moe/base/error.h"
#include "moe/base/progress.h"
#include "moe/io/npy.h"
#include "moe/nn/model_config.h"
#include "moe/nn/moe/assignment_router.h"
#include "moe/nn/moe/balance_losses.h"
#include "moe/nn/moe/routers.h"
#include "moe/report/table.h"
#include "moe/study/router_selftest.h"

#include "apps/moe/command.h"

namespace moe {
namespace {

// The router's own numbers, as a product of letters would say it, for E experts and width D.
std::string parameters_text(const MoeConfig& c) {
  constexpr int64_t kWidth = 1009;  // no other size is this prime
  std::vector<std::string> parts;
  for (const auto& [out, in] : router_matrices(c, kWidth)) {
    const auto letter = [&](int64_t n) {
      if (n == kWidth) return std::string("D");
      if (n == c.n_experts) return std::string("E");
      return str(n);
    };
    parts.push_back(out == 1 && in == 1 ? "1" : letter(out) + " x " + letter(in));
  }
  return parts.empty() ? "none" : join(parts, " + ");
}

MoeConfig example_of(const std::string& name) {
  MoeConfig c;
  c.router = name;
  if (name == "hierarchical") c.n_group = c.topk_group = 2;
  return c;
}

int run_list(bool json) {
  Table table({"router", "causal", "causal in training", "balanced", "own parameters", "paper"});
  JsonArray routers;
  for (const RouterEntry& entry : router_table()) {
    const MoeConfig c = example_of(entry.name);
    const auto router = make_router(c, 16, DType::f32);
    const bool causal = router->causal(false), in_training = router->causal(true);
    const auto yes = [](bool b) { return std::string(b ? "yes" : "no"); };
    table.row({entry.name, yes(causal), yes(in_training), entry.balance, parameters_text(c),
               entry.paper});
    routers.push_back(JsonObject{{"name", entry.name},
                                 {"paper", entry.paper},
                                 {"causal", causal},
                                 {"causal_in_training", in_training},
                                 {"balanced_by_construction", entry.balanced},
                                 {"balance", entry.balance},
                                 {"parameters", parameters_text(c)}});
  }
  if (json)
    print_json({{"routers", routers}});
  else
    print_line(table.text() + "\nE experts, D model width. Use one with model.moe.router=NAME.");
  return 0;
}

// "key=value" as in model.moe, and bias=[...] for a given selection bias.
struct RunKeys {
  ModelConfig model;
  std::vector<double> bias;
};

RunKeys parse_keys(const std::string& name, int64_t n_tokens, int64_t n_outputs,
                   const std::vector<std::string>& key_values) {
  RunKeys keys;
  ModelConfig& c = keys.model;
  c.has_moe = true;
  c.moe.router = name;
  // Without noise: both experts of gshard, no jitter.
  c.moe.router_jitter = 0;
  c.moe.second_expert_policy = "all";
  ConfigTable table;
  bind_model_keys(table, c);
  for (const std::string& item : key_values) {
    const size_t equals = item.find('=');
    MOE_CHECK(equals != std::string::npos && equals > 0, "[router] '", printable(item, 60),
              "' is no key=value");
    std::string key = item.substr(0, equals);
    const std::string value = item.substr(equals + 1);
    if (key == "bias") {
      keys.bias.assign(size_t(n_outputs), 0);
      ConfigTable own;
      own.numbers("bias", keys.bias, keys.bias.size(), -1e30, 1e30, "selection bias");
      own.set("bias", value);
      continue;
    }
    if (key == "experts_per_token") key = "top_k";
    if (!starts_with(key, "model.moe.")) key = "model.moe." + key;
    table.set(key, value);
  }
  const int64_t light = router_outputs(c.moe) - c.moe.n_experts;
  c.moe.n_experts = n_outputs - light;
  MOE_CHECK(c.moe.n_experts >= 1, "[router] logits have ", n_outputs, " columns, and ", light,
            " of them are identity, constant or zero experts");
  c.moe.capacity_tokens = n_tokens;
  resolve_layers(c);
  return keys;
}

void set_bias(const Router& router, const std::vector<double>& bias) {
  bool done = bias.empty();
  Visitor v;
  v.buffer = [&](const Buffer& b) {
    const std::span<float> to = b.value.data<float>();
    if (to.size() != bias.size() || done) return;
    std::transform(bias.begin(), bias.end(), to.begin(), [](double x) { return float(x); });
    done = true;
  };
  router.visit(v);
  MOE_CHECK(done, "[router] this router has no selection bias; leave bias out");
}

int run_router(const std::string& name, const std::string& path,
               const std::vector<std::string>& key_values, bool json) {
  make_router(example_of(name), 16, DType::f32);  // an unknown name is refused first
  const Tensor given = read_npy(path);
  MOE_CHECK(given.shape().rank() == 2 && given.size(1) >= 1, "[router] ", printable(path),
            " holds ", given.shape().text(), "; wanted logits [tokens, experts]");
  MOE_CHECK(given.dtype() == DType::f32 || given.dtype() == DType::f64, "[router] ",
            printable(path), " holds ", dtype_name(given.dtype()), "; wanted float32 or float64");
  const Tensor logits_TE = given.to(DType::f64);
  const int64_t T = logits_TE.size(0), E = logits_TE.size(1);
  for (int64_t t = 0; t < T; ++t)
    for (int64_t e = 0; e < E; ++e)
      MOE_CHECK(std::isfinite(score_at(logits_TE, t, e)), "[router] ", printable(path),
                ": logit of token ", t, ", expert ", e, " is not finite");
  const RunKeys keys = parse_keys(name, T, E, key_values);
  const auto router = make_router(keys.model.moe, E, DType::f64);
  set_bias(*router, keys.bias);
  std::vector<int32_t> ids(static_cast<size_t>(T));
  for (int64_t t = 0; t < T; ++t) ids[size_t(t)] = int32_t(t);
  ForwardContext ctx = pack_sequences({ids});
  ctx.training = true;
  const Routing routing = router->route_logits(Var(logits_TE), ctx);

  std::vector<std::vector<size_t>> picks_T(static_cast<size_t>(T));
  for (size_t a = 0; a < routing.kept.size(); ++a)
    picks_T[size_t(routing.kept[a].token)].push_back(a);
  JsonArray experts, weights;
  Table table({"token", "experts", "weights"});
  for (size_t t = 0; t < picks_T.size(); ++t) {
    std::stable_sort(picks_T[t].begin(), picks_T[t].end(), [&](size_t a, size_t b) {
      return routing.kept[a].choice < routing.kept[b].choice;
    });
    JsonArray e, w;
    std::vector<std::string> e_text, w_text;
    for (const size_t a : picks_T[t]) {
      e.push_back(routing.kept[a].expert);
      w.push_back(score_at(routing.weight_A1.value(), int64_t(a), 0));
      e_text.push_back(str(routing.kept[a].expert));
      w_text.push_back(fmt::format("{:.6f}", score_at(routing.weight_A1.value(), int64_t(a), 0)));
    }
    experts.push_back(e);
    weights.push_back(w);
    table.row({str(t), join(e_text, " "), join(w_text, " ")});
  }
  int64_t picked = 0, dropped = 0;
  for (const int64_t n : routing.stats.counts_E) picked += n;
  for (const int64_t n : routing.stats.dropped_E) dropped += n;
  double balance = 0;
  for (int64_t e = 0; e < E && picked > 0; ++e)
    balance += double(E) * double(routing.stats.counts_E[size_t(e)]) / double(picked) *
               routing.stats.prob_sum_E[size_t(e)] / double(routing.stats.n_tokens);
  const double z = router_z_loss(Var(logits_TE), ctx).value().data<double>()[0];
  if (json)
    print_json({{"experts", experts},
                {"weights", weights},
                {"losses", JsonObject{{"switch", balance}, {"z", z}}},
                {"dropped", dropped}});
  else
    print_line(table.text() + fmt::format("\nswitch loss {:.6f}, z-loss {:.6f}, {} picks dropped",
                                          balance, z, dropped));
  return 0;
}

int run_selftest(const std::string& name, bool json) {
  ProgressLine progress(json ? ProgressLine::Style::silent : ProgressLine::Style::automatic);
  const std::vector<SelftestResult> results = router_selftest(
      name, [&](double done) { progress.update(progress_bar(done, 20) + " examining routers"); });
  progress.finish();
  JsonArray routers;
  std::vector<std::string> header = {"router"}, cells;
  int64_t passed = 0, failed = 0, skipped = 0;
  std::string failures;
  std::vector<std::vector<std::string>> rows;
  for (const SelftestResult& r : results) {
    (r.skipped ? skipped : r.passed ? passed : failed) += 1;
    if (rows.empty() || rows.back()[0] != r.router) {
      rows.push_back({r.router});
      routers.push_back(JsonObject{{"name", r.router}, {"passed", true}, {"checks", JsonObject()}});
    }
    if (rows.size() == 1) header.push_back(r.check);
    rows.back().push_back(r.skipped ? "-" : r.passed ? "ok" : "FAILED");
    JsonObject& o = routers.back().get_object();
    o["checks"].get_object()[r.check] = JsonObject{{"result", r.skipped  ? "skipped"
                                                              : r.passed ? "ok"
                                                                         : "failed"},
                                                   {"message", r.message}};
    if (!r.passed) {
      o["passed"] = false;
      failures += str("\n", r.router, ", ", r.check, ": ", r.message);
    }
  }
  if (json) {
    print_json(
        {{"routers", routers}, {"passed", passed}, {"failed", failed}, {"skipped", skipped}});
  } else {
    Table table(header);
    for (std::vector<std::string>& row : rows) {
      row.resize(header.size());
      table.row(row);
    }
    print_line(table.text() + failures +
               str("\n", passed, " passed, ", failed, " failed, ", skipped,
                   " without meaning for their router"));
  }
  return failed == 0 ? 0 : 1;
}

}  // namespace

RunCommand add_router(CLI::App& app) {
  struct Options {
    std::string name, logits;
    std::vector<std::string> key_values;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  app.require_subcommand(1);
  CLI::App* list =
      app.add_subcommand("list", "Every router: causal or not, what balances it, paper");
  list->add_flag("--json", o->json, "one JSON object");
  CLI::App* run = app.add_subcommand("run", "Apply one router to given logits");
  run->add_option("NAME", o->name, "router, see: moe router list")->required();
  run->add_option("--logits", o->logits, ".npy of [tokens, experts], float32 or float64")
      ->required();
  run->add_option("key=value", o->key_values,
                  "keys of model.moe (top_k=2, norm_topk_prob=false, threshold=0.4 ...), "
                  "experts_per_token, bias=[0,0.1]");
  run->add_flag("--json", o->json, "one JSON object: experts, weights, losses, dropped");
  CLI::App* selftest = app.add_subcommand(
      "selftest",
      "Known answers, gradients, causality, padding, capacity, parity of one router or all");
  auto tested = std::make_shared<std::string>("all");
  selftest->add_option("NAME", *tested, "router, or all")->capture_default_str();
  selftest->add_flag("--json", o->json, "one JSON object");
  return [o, list, selftest, tested] {
    if (selftest->parsed()) return run_selftest(*tested, o->json);
    return list->parsed() ? run_list(o->json)
                          : run_router(o->name, o->logits, o->key_values, o->json);
  };
}

}  // namespace moe
