// SPDX-License-Identifier: MIT
// Commands that train several configurations: compare and sweep.
#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <memory>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/log.h"
#include "moe/nn/accounting.h"
#include "moe/report/line_chart.h"
#include "moe/report/table.h"
#include "moe/study/shapes.h"
#include "moe/study/trials.h"

#include "apps/moe/command.h"

namespace moe {
namespace {

// "dense-small", "moe-small" ...: the same width and depth with and without experts.
struct Size {
  const char* name;
  int64_t layers, width;
};
constexpr Size kSizes[] = {
    {"tiny", 2, 64}, {"small", 4, 128}, {"medium", 6, 256}, {"large", 8, 384}};

std::vector<std::string> built_in(const std::string& name) {
  for (const Size& s : kSizes)
    for (const bool experts : {false, true}) {
      if (name != str(experts ? "moe-" : "dense-", s.name)) continue;
      std::vector<std::string> keys = {str("model.n_layers=", s.layers),
                                       str("model.d_model=", s.width),
                                       str("model.n_heads=", s.width / 32),
                                       str("model.n_kv_heads=", s.width / 32),
                                       "model.head_dim=32",
                                       "model.max_seq_len=128",
                                       "data.seq_len=128",
                                       str("model.d_ff=", 8 * s.width / 3 / 16 * 16)};
      if (experts)
        keys.push_back(str("model.moe.d_ff=", 4 * s.width / 3 / 16 * 16));
      else
        keys.push_back("model.moe=null");
      return keys;
    }
  return {};
}

RunConfig config_named(const std::string& name, const std::vector<std::string>& overrides) {
  ConfigSource source;
  source.overrides = built_in(name);
  if (source.overrides.empty()) {
    if (!exists(name))
      throw Error(
          str("'", printable(name),
              "' does not exist; give YAML files, or dense-SIZE and moe-SIZE with SIZE one of "
              "tiny, small, medium, large"),
          ExitCode::usage);
    source.file = name;
  }
  source.overrides.insert(source.overrides.end(), overrides.begin(), overrides.end());
  return read_run_config(source);
}

std::string short_name(const std::string& path) {
  std::string name = file_name(path);
  for (const char* end : {".yaml", ".yml"})
    if (ends_with(name, end)) name.resize(name.size() - std::string(end).size());
  return name;
}

void count(const RunConfig& config, TrialSummary& s) {
  ModelConfig m = config.model;
  if (m.vocab_size == 0) m.vocab_size = 256;
  const ParameterCount n = count_parameters(m);
  s.total_parameters = n.total;
  s.active_parameters = n.active;
  s.flop_per_token = train_flop_per_token(m, config.data.seq_len);
}

JsonObject to_json(const TrialSummary& s) {
  JsonArray losses;
  for (const TrialResult& r : s.seeds) losses.push_back(r.val_loss);
  return {{"name", s.name},
          {"val_loss", s.mean_val_loss()},
          {"val_loss_spread", s.spread()},
          {"val_losses", losses},
          {"train_loss", s.mean(&TrialResult::train_loss)},
          {"steps", s.seeds.empty() ? int64_t{0} : s.seeds[0].steps},
          {"seconds", s.mean(&TrialResult::seconds)},
          {"tokens_per_second", s.mean(&TrialResult::tokens_per_second)},
          {"peak_bytes", s.seeds.empty() ? int64_t{0} : s.seeds[0].peak_bytes},
          {"balance", s.mean(&TrialResult::balance)},
          {"drop_rate", s.mean(&TrialResult::drop_rate)},
          {"total_parameters", s.total_parameters},
          {"active_parameters", s.active_parameters},
          {"train_flop_per_token", s.flop_per_token}};
}

std::string table_of(const std::vector<TrialSummary>& all) {
  Table table({"model", "val loss", "+-", "train loss", "steps", "time", "tokens/s", "memory",
               "balance", "active", "total"});
  for (const TrialSummary& s : all)
    table.row(
        {s.name, fmt::format("{:.4f}", s.mean_val_loss()), fmt::format("{:.4f}", s.spread() / 2),
         fmt::format("{:.4f}", s.mean(&TrialResult::train_loss)),
         with_commas(s.seeds.empty() ? 0 : s.seeds[0].steps),
         human_seconds(s.mean(&TrialResult::seconds)),
         with_commas(int64_t(s.mean(&TrialResult::tokens_per_second))),
         human_bytes(uint64_t(s.seeds.empty() ? 0 : s.seeds[0].peak_bytes)),
         fmt::format("{:.3f}", s.mean(&TrialResult::balance)),
         with_commas(int64_t(s.active_parameters)), with_commas(int64_t(s.total_parameters))});
  return table.text();
}

void draw(const std::vector<TrialSummary>& all, bool over_time, const std::string& path,
          const std::string& title) {
  LineChart chart{.title = title,
                  .x_label = over_time ? "seconds of training" : "step",
                  .y_label = "validation loss"};
  for (size_t i = 0; i < all.size(); ++i)
    for (size_t j = 0; j < all[i].seeds.size(); ++j) {
      const TrialResult& r = all[i].seeds[j];
      chart.series.push_back({.name = j == 0 ? all[i].name : "",
                              .xs = over_time ? r.val_seconds : r.val_steps,
                              .ys = r.val_losses,
                              .weight = j == 0 ? Series::Weight::bold : Series::Weight::faint,
                              .color = int(i)});
    }
  write_file_atomic(real_fs(), path, line_chart(chart));
}

// Trains every seed of one configuration below `folder`.
TrialSummary run_seeds(RunConfig config, const std::string& name, const std::string& folder,
                       int64_t seeds) {
  TrialSummary s;
  s.name = name;
  count(config, s);
  // A score is needed, at the end at least.
  if (config.train.eval_every == 0)
    config.train.eval_every = std::max<int64_t>(1, config.train.steps);
  const int64_t first = config.train.seed;
  for (int64_t i = 0; i < seeds; ++i) {
    config.train.seed = first + i;
    config.run_dir = join_path(folder, str(name, "-seed", config.train.seed));
    log_info(str(name, ", seed ", config.train.seed, " of ", first, " to ", first + seeds - 1));
    s.seeds.push_back(run_trial(config, name, interrupted));
  }
  return s;
}

int finish(std::vector<TrialSummary> all, const std::string& what, const std::string& folder,
           bool over_time, bool json) {
  const std::string svg = join_path(folder, what + ".svg"),
                    file = join_path(folder, what + ".json");
  draw(all, over_time, svg, "Validation loss");
  JsonArray results;
  for (const TrialSummary& s : all) results.push_back(to_json(s));
  const JsonObject out = {{"results", results}, {"chart", svg}};
  write_file_atomic(real_fs(), file, to_json_line(out) + "\n");
  if (json)
    print_json(out);
  else
    print_line(table_of(all) + str("\ncurves ", svg, ", numbers ", file));
  return 0;
}

// Both words for places of layers in a stack of n.
std::string layers_of(const std::string& value, int64_t n_layers) {
  if (value == "deep") return str(n_layers / 2, "-", n_layers - 1);
  if (value == "sparse") return "every:2";
  return value;
}

struct Point {
  std::string name;
  std::vector<std::string> keys;
};

std::vector<Point> grid(const std::vector<SweepAxis>& axes) {
  std::vector<Point> points = {{"", {}}};
  for (const SweepAxis& axis : axes) {
    std::vector<Point> next;
    for (const Point& p : points)
      for (const std::string& value : axis.values) {
        Point q = p;
        const std::string label = str(axis.key.substr(axis.key.rfind('.') + 1), "=", value);
        q.name += q.name.empty() ? label : " " + label;
        q.keys.push_back(axis.key + "=" + value);
        next.push_back(q);
      }
    points = next;
  }
  return points;
}

std::string folder_name(std::string name) {
  for (char& c : name)
    if (c == ' ' || c == '/' || c == '[' || c == ']' || c == ',') c = '_';
  return name;
}

}  // namespace

RunCommand add_compare(CLI::App& app) {
  struct Options {
    std::vector<std::string> arguments;
    std::string match = "none", out = "runs/compare";
    int64_t seeds = 1;
    double target = 0;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  app.add_option(
      "arguments", o->arguments,
      "YAML files (or dense-small, moe-small ...), and key=value changes of all of them");
  app.add_option("--match", o->match,
                 "make the others equal to the first in: active-params, total-params, flops, time, "
                 "loss (steps and time to one loss), or none")
      ->capture_default_str();
  app.add_option("--target", o->target, "--match loss: the loss; default: the worst final one");
  app.add_option("--seeds", o->seeds, "runs of each, with train.seed, train.seed + 1 ...")
      ->check(CLI::Range(int64_t{1}, int64_t{1000}))
      ->capture_default_str();
  app.add_option("--out", o->out, "folder of the runs, the chart and the table")
      ->capture_default_str();
  app.add_flag("--json", o->json, "one JSON object");
  return [o] {
    std::vector<std::string> files, keys;
    split_arguments(o->arguments, files, keys);
    if (files.size() < 2)
      throw Error(
          "[compare] name two configurations or more; for example: moe compare dense-small "
          "moe-small --match active-params --seeds 3",
          ExitCode::usage);
    const Match match = parse_match(o->match);
    catch_interrupts();
    std::vector<RunConfig> configs;
    for (const std::string& file : files) {
      configs.push_back(config_named(file, keys));
      if (configs.size() > 1) match_to(configs.back(), configs.front(), match);
    }
    if (match == Match::time) match_to(configs.front(), configs.front(), match);
    std::vector<TrialSummary> all;
    for (size_t i = 0; i < configs.size(); ++i) {
      std::string name = short_name(files[i]);
      for (const TrialSummary& s : all)
        if (s.name == name) name += str("-", i + 1);
      all.push_back(run_seeds(configs[i], name, o->out, o->seeds));
    }
    if (match == Match::loss) {
      double target = o->target;
      if (target <= 0)
        for (const TrialSummary& s : all)
          for (const TrialResult& r : s.seeds) target = std::max(target, r.val_loss);
      Table table(
          {"model", "steps to " + fmt::format("{:.4f}", target), "time", "seeds that reach it"});
      for (const TrialSummary& s : all) {
        double steps = 0, seconds = 0, n = 0;
        for (const TrialResult& r : s.seeds)
          for (size_t i = 0; i < r.val_losses.size(); ++i)
            if (r.val_losses[i] <= target) {
              steps += r.val_steps[i], seconds += r.val_seconds[i], n += 1;
              break;
            }
        table.row({s.name, n > 0 ? fmt::format("{:.0f}", steps / n) : "-",
                   n > 0 ? human_seconds(seconds / n) : "-", str(n, " of ", s.seeds.size())});
      }
      if (!o->json) print_line(table.text());
    }
    return finish(all, "compare", o->out, match == Match::time, o->json);
  };
}

RunCommand add_sweep(CLI::App& app) {
  struct Options {
    std::vector<std::string> arguments;
    std::string out = "runs/sweep";
    int64_t seeds = 1;
    double minutes = 0;
    bool json = false, automatic = false;
  };
  auto o = std::make_shared<Options>();
  app.add_option(
      "arguments", o->arguments,
      "a YAML file (or moe-small ...), axes key=value,value and single key=value changes");
  app.add_option("--minutes", o->minutes,
                 "equal time for every point; with --auto the budget of the whole search")
      ->check(CLI::Range(0.0, 1e6));
  app.add_flag(
      "--auto", o->automatic,
      "successive halving: all points shortly, the better half twice as long, until one is "
      "left or the budget is spent");
  app.add_option("--seeds", o->seeds, "runs of each point")
      ->check(CLI::Range(int64_t{1}, int64_t{1000}))
      ->capture_default_str();
  app.add_option("--out", o->out,
                 "folder of the runs and the table; the same command resumes in it")
      ->capture_default_str();
  app.add_flag("--json", o->json, "one JSON object");
  return [o] {
    std::vector<std::string> files, keys, fixed;
    split_arguments(o->arguments, files, keys);
    if (files.size() > 1)
      throw Error("[sweep] give one configuration, and axes as key=value,value", ExitCode::usage);
    std::vector<SweepAxis> axes;
    for (const std::string& key : keys) {
      SweepAxis axis = parse_axis(key);
      if (axis.values.size() > 1)
        axes.push_back(axis);
      else
        fixed.push_back(key);
    }
    if (axes.empty())
      throw Error(
          "[sweep] no axis; for example: moe sweep recipes/tiny.yaml "
          "model.moe.n_experts=4,8,16 model.moe.top_k=1,2",
          ExitCode::usage);
    const std::string base = files.empty() ? "moe-small" : files[0];
    if (o->automatic && o->minutes <= 0)
      throw Error("[sweep] --auto needs a budget: --minutes N", ExitCode::usage);
    catch_interrupts();
    struct Candidate {
      Point point;
      TrialSummary summary;
    };
    std::vector<Candidate> left, done;
    for (const Point& p : grid(axes)) left.push_back({p, {}});
    const auto run_point = [&](Candidate& c, double minutes, const std::string& folder) {
      std::vector<std::string> all = fixed;
      const int64_t n_layers = config_named(base, fixed).model.n_layers;
      for (const std::string& key : c.point.keys) {
        const SweepAxis one = parse_axis(key);
        all.push_back(one.key == "model.moe.layers"
                          ? "model.moe.layers=" + layers_of(one.values[0], n_layers)
                          : key);
      }
      RunConfig config = config_named(base, all);
      if (minutes > 0) {
        config.train.minutes = minutes;
        config.train.steps = std::max(config.train.steps, int64_t{1} << 30);
      }
      c.summary = run_seeds(config, folder_name(c.point.name), folder, o->seeds);
      c.summary.name = c.point.name;
    };
    const auto by_loss = [](const Candidate& a, const Candidate& b) {
      return a.summary.mean_val_loss() < b.summary.mean_val_loss();
    };
    if (o->automatic) {
      double rounds = std::max(1.0, std::ceil(std::log2(double(left.size()))));
      for (int64_t round = 1; left.size() > 1; ++round) {
        const double minutes = o->minutes / rounds / double(left.size()) / double(o->seeds);
        for (Candidate& c : left) run_point(c, minutes, join_path(o->out, str("round-", round)));
        std::stable_sort(left.begin(), left.end(), by_loss);
        done.insert(done.begin(), left.begin() + int64_t((left.size() + 1) / 2), left.end());
        left.resize((left.size() + 1) / 2);
      }
    } else {
      // A point that cannot be (top_k above n_experts) is left out, not the end of the sweep.
      std::vector<Candidate> possible;
      for (Candidate& c : left) {
        try {
          run_point(c, o->minutes, o->out);
          possible.push_back(c);
        } catch (const Error& e) {
          if (e.exit_code() != ExitCode::usage) throw;
          log_warning(str("left out ", c.point.name, ": ", e.what()));
        }
      }
      left = possible;
    }
    std::stable_sort(left.begin(), left.end(), by_loss);
    left.insert(left.end(), done.begin(), done.end());
    MOE_CHECK(!left.empty(), "[sweep] no point of the grid is a valid configuration");
    std::vector<TrialSummary> all;
    for (const Candidate& c : left) all.push_back(c.summary);
    if (!o->json) print_line("best: " + left[0].point.name + "\n");
    return finish(all, "sweep", o->out, o->minutes > 0, o->json);
  };
}

}  // namespace moe
