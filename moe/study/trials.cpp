// SPDX-License-Identifier: MIT
#include "moe/study/trials.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/json.h"
#include "moe/base/parallel.h"
#include "moe/base/str.h"
#include "moe/data/dataset.h"
#include "moe/nn/accounting.h"
#include "moe/nn/init.h"
#include "moe/report/line_chart.h"
#include "moe/study/shapes.h"
#include "moe/train/run.h"

namespace moe {
namespace {

double median(std::vector<double> x) {
  if (x.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::nth_element(x.begin(), x.begin() + int64_t(x.size() / 2), x.end());
  return x[x.size() / 2];
}

void read_log_into(const std::string& run_dir, TrialResult& r) {
  const std::string path = join_path(run_dir, "metrics.jsonl");
  std::vector<double> speeds;
  double seconds = 0;
  r.val_loss = std::numeric_limits<double>::quiet_NaN();
  for (const std::string& line : split(read_file(path), '\n')) {
    boost::json::error_code error;
    const Json value = boost::json::parse(line, error);
    if (error || !value.is_object()) continue;
    const JsonReader m(value.get_object(), "[metrics.jsonl] " + path);
    r.steps = m.integer("step");
    r.train_loss = m.number_or("lm_loss", r.train_loss);
    const double speed = m.number_or("tokens_per_second", 0);
    if (speed > 0) {
      speeds.push_back(speed);
      seconds += m.number_or("tokens", 0) / speed;
    }
    r.balance = m.number_or("load_entropy", 1);
    r.drop_rate = m.number_or("drop_rate", 0);
    if (m.has("val_loss")) {
      r.val_loss = m.number("val_loss");
      r.val_steps.push_back(double(r.steps));
      r.val_losses.push_back(r.val_loss);
      r.val_seconds.push_back(seconds);
    }
  }
  r.seconds = seconds;
  r.tokens_per_second = median(speeds);
}

}  // namespace

TrialResult run_trial(const RunConfig& config, const std::string& name,
                      const std::function<bool()>& stop_requested) {
  TrialResult r;
  r.name = name;
  r.seed = config.train.seed;
  reset_tensor_bytes_peak();
  RunOptions options;
  options.resume = exists(config.run_dir);
  options.quiet = true;
  options.stop_requested = stop_requested;
  const RunResult run = run_training(config, options);
  r.peak_bytes = tensor_bytes_peak();
  if (run.end == RunResult::End::interrupted)
    throw Error(str("interrupted in ", config.run_dir, "; the same command goes on from there"),
                ExitCode::interrupted);
  read_log_into(config.run_dir, r);
  return r;
}

double TrialSummary::mean(double TrialResult::*number) const {
  double sum = 0;
  for (const TrialResult& r : seeds) sum += r.*number;
  return seeds.empty() ? 0 : sum / double(seeds.size());
}
double TrialSummary::mean_val_loss() const { return mean(&TrialResult::val_loss); }
double TrialSummary::spread() const {
  double least = std::numeric_limits<double>::infinity(), most = -least;
  for (const TrialResult& r : seeds)
    least = std::min(least, r.val_loss), most = std::max(most, r.val_loss);
  return seeds.empty() ? 0 : most - least;
}

Match parse_match(const std::string& text) {
  const std::vector<std::string> names = {"none",  "active-params", "total-params",
                                          "flops", "time",          "loss"};
  for (size_t i = 0; i < names.size(); ++i)
    if (text == names[i]) return Match(i);
  const std::string near = nearest_word(text, names);
  throw Error(str("--match ", printable(text, 40), " is unknown; ",
                  near.empty() ? "use one of " + join(names, ", ") : "did you mean " + near + "?"),
              ExitCode::usage);
}

void match_to(RunConfig& config, const RunConfig& reference, Match match) {
  const auto counted = [](const RunConfig& c) {
    ModelConfig m = c.model;
    if (m.vocab_size == 0) m.vocab_size = 256;
    return m;
  };
  if (match == Match::active_parameters || match == Match::total_parameters) {
    const auto size = [&](const RunConfig& c) {
      const ParameterCount n = count_parameters(counted(c));
      return match == Match::active_parameters ? n.active : n.total;
    };
    const double wanted = size(reference);
    int64_t& width = config.model.has_moe ? config.model.moe.d_ff : config.model.d_ff;
    int64_t best = width;
    double distance = std::numeric_limits<double>::infinity();
    constexpr int64_t kStep = 8, kMost = 1 << 18;
    // The size grows with the width: stop once it is beyond.
    for (int64_t f = kStep; f <= kMost; f += kStep) {
      width = f;
      const double d = std::fabs(size(config) - wanted);
      if (d > distance) break;
      distance = d, best = f;
    }
    width = best;
    MOE_CHECK(distance <= 0.05 * wanted, "[compare] no feed-forward width brings ",
              printable(config.run_dir), " within 5 % of ", int64_t(wanted),
              " parameters; the nearest is ", best);
  } else if (match == Match::flops) {
    const auto per_step = [&](const RunConfig& c) {
      return train_flop_per_token(counted(c), c.data.seq_len) *
             double(c.train.batch_size * c.train.grad_accum * c.data.seq_len);
    };
    config.train.steps = std::max<int64_t>(
        1, std::llround(double(reference.train.steps) * per_step(reference) / per_step(config)));
    config.train.minutes = 0;
  } else if (match == Match::time) {
    config.train.minutes = reference.train.minutes;
    MOE_CHECK(config.train.minutes > 0,
              "[compare] --match time needs train.minutes=N, in the first "
              "configuration or as key=value");
    config.train.steps = std::max(config.train.steps, int64_t{1} << 30);
  }
}

SweepAxis parse_axis(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0)
    throw Error(str("[sweep] '", printable(text, 60), "' is no key=value,value"), ExitCode::usage);
  SweepAxis axis{text.substr(0, equals), {""}};
  int depth = 0;
  for (const char c : text.substr(equals + 1)) {
    depth += (c == '[' || c == '{') - (c == ']' || c == '}');
    if (c == ',' && depth == 0)
      axis.values.emplace_back();
    else
      axis.values.back() += c;
  }
  for (const std::string& value : axis.values)
    if (value.empty())
      throw Error(str("[sweep] '", printable(text, 60), "' has an empty value"), ExitCode::usage);
  return axis;
}

LrCurve find_learning_rate(RunConfig config, double from, double to, int64_t steps,
                           const std::function<void(double)>& progress) {
  set_threads(int(config.train.threads));
  const Dataset data = open_dataset(config.data, uint64_t(config.train.seed));
  if (config.model.vocab_size == 0) config.model.vocab_size = data.vocab_size;
  TransformerLM model(config.model);
  initialize(model, uint64_t(config.train.seed));
  Trainer trainer(config, data, model);
  LrCurve curve;
  double best = std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i < steps; ++i) {
    const double lr =
        from * std::pow(to / from, double(i) / double(std::max<int64_t>(1, steps - 1)));
    trainer.fix_learning_rate(lr);
    double loss = std::numeric_limits<double>::quiet_NaN();
    try {
      loss = trainer.step().lm_loss;
    } catch (const Error&) {  // diverged: the curve ends here
    }
    if (!std::isfinite(loss)) break;
    curve.lrs.push_back(lr);
    curve.losses.push_back(loss);
    curve.smoothed = smooth(curve.losses, 0.8);
    best = std::min(best, curve.smoothed.back());
    if (progress) progress(double(i + 1) / double(steps));
    if (i >= 10 && curve.smoothed.back() > 1.5 * best + 0.5) break;
  }
  MOE_CHECK(curve.lrs.size() >= 5, "[lr-find] the loss is not finite after ", curve.lrs.size(),
            " steps; begin lower with --from");
  // The steepest fall over five steps, in the logarithm of the rate.
  double steepest = 0;
  size_t lowest = 0;
  for (size_t i = 0; i < curve.smoothed.size(); ++i)
    if (curve.smoothed[i] < curve.smoothed[lowest]) lowest = i;
  curve.largest = curve.lrs[lowest];
  curve.suggestion = curve.largest / 10;
  for (size_t i = 5; i <= lowest; ++i)
    if (const double fall = curve.smoothed[i - 5] - curve.smoothed[i]; fall > steepest)
      steepest = fall, curve.suggestion = curve.lrs[i];
  return curve;
}

}  // namespace moe
