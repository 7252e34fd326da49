// SPDX-License-Identifier: MIT
// moe advise: dense or MoE, how many experts, which k; by a rule of thumb or by the numbers of a
// sweep.
#include <algorithm>
#include <fmt/format.h>
#include <memory>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/json.h"

#include "apps/moe/command.h"

namespace moe {
namespace {

struct Advice {
  std::string choice, reason;
  std::vector<std::string> keys;
};

Advice advise_by_rule(const std::string& goal) {
  if (goal == "beginner")
    return {
        "MoE with 4 experts, top 2",
        "few experts stay balanced by themselves and their maps are easy to read; top 2 lets the "
        "router learn from the task, which top 1 with normalised weights would not",
        {"model.moe.n_experts=4", "model.moe.top_k=2", "model.moe.router=top_k",
         "model.moe.aux_loss_weight=0.01", "model.moe.z_loss_weight=0.001"}};
  if (goal == "efficiency")
    return {
        "MoE with 8 experts, top 1 (Switch)",
        "one expert a token costs what a dense network of that width costs; memory grows with all "
        "eight",
        {"model.moe.n_experts=8", "model.moe.router=switch", "model.moe.aux_loss_weight=0.01"}};
  return {
      "MoE with 32 fine experts, top 4, and one shared",
      "many small experts give more combinations for the same active parameters, and the shared "
      "one keeps what all tokens need out of them; it needs memory and steps to pay off",
      {"model.moe.n_experts=32", "model.moe.top_k=4", "model.moe.n_shared_experts=1",
       "model.moe.router=sigmoid_bias"}};
}

}  // namespace

RunCommand add_advise(CLI::App& app) {
  struct Options {
    std::string goal = "performance", sweep;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  app.add_option("--goal", o->goal, "beginner, performance or efficiency")
      ->check(CLI::IsMember({"beginner", "performance", "efficiency"}))
      ->capture_default_str();
  app.add_option("--sweep", o->sweep,
                 "folder of a sweep or compare: its numbers decide instead of the rule of thumb");
  app.add_flag("--json", o->json, "one JSON object");
  return [o] {
    Advice advice = advise_by_rule(o->goal);
    if (!o->sweep.empty()) {
      std::string path = join_path(o->sweep, "sweep.json");
      if (!exists(path)) path = join_path(o->sweep, "compare.json");
      MOE_CHECK(
          exists(path), "[advise] ", printable(o->sweep),
          " holds neither sweep.json nor compare.json; run moe sweep or moe compare with --out");
      const Json file = read_json(path, "[advise] " + path);
      const JsonReader reader(file.as_object(), "[advise] " + path);
      struct Row {
        std::string name;
        double loss, flop, speed, active;
      };
      std::vector<Row> rows;
      for (const Json& item : reader.at("results").as_array()) {
        const JsonReader r(item.as_object(), "[advise] " + path);
        rows.push_back({r.string("name"), r.number("val_loss"), r.number("train_flop_per_token"),
                        r.number("tokens_per_second"), r.number("active_parameters")});
      }
      MOE_CHECK(!rows.empty(), "[advise] ", printable(path), " holds no result");
      // performance: the lowest loss. The others: of those within 1 % of it, the fewest operations
      // (efficiency) or the fewest active parameters (beginner).
      const auto least = [&](auto key) {
        return *std::min_element(rows.begin(), rows.end(),
                                 [&](const Row& a, const Row& b) { return key(a) < key(b); });
      };
      Row best = least([](const Row& r) { return r.loss; });
      const double limit = best.loss * 1.01;
      if (o->goal != "performance") {
        std::erase_if(rows, [&](const Row& r) { return !(r.loss <= limit); });
        best = o->goal == "efficiency" ? least([](const Row& r) { return r.flop; })
                                       : least([](const Row& r) { return r.active; });
      }
      advice = {best.name,
                fmt::format("measured: validation loss {:.4f} with {:.3g} GFLOP a token, {:.0f} "
                            "tokens/s; {} of {} candidates lie within 1 % of the best",
                            best.loss, best.flop / 1e9, best.speed,
                            std::count_if(rows.begin(), rows.end(),
                                          [&](const Row& r) { return r.loss <= limit; }),
                            rows.size()),
                {}};
    }
    if (o->json) {
      print_json({{"goal", o->goal},
                  {"choice", advice.choice},
                  {"reason", advice.reason},
                  {"keys", JsonArray(advice.keys.begin(), advice.keys.end())}});
      return 0;
    }
    print_line(advice.choice + "\n  because " + advice.reason);
    if (!advice.keys.empty()) print_line("  moe train " + join(advice.keys, " "));
    if (o->sweep.empty())
      print_line(
          "A rule of thumb; your data decide: moe sweep moe-small model.moe.n_experts=4,8,16 "
          "model.moe.top_k=1,2 --minutes 2 --out runs/sweep, then moe advise --sweep "
          "runs/sweep");
    return 0;
  };
}

}  // namespace moe
