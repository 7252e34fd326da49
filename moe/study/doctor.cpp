// SPDX-License-Identifier: MIT
#include "moe/study/doctor.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <optional>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/json.h"
#include "moe/base/str.h"

namespace moe {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double median(std::vector<double> x) {
  if (x.empty()) return kNone;
  std::sort(x.begin(), x.end());
  return x[x.size() / 2];
}

// Median of a number over log lines [begin, end), where it is known.
template <class F>
double median_of(const std::vector<LoggedStep>& log, size_t begin, size_t end, F f) {
  std::vector<double> x;
  for (size_t i = begin; i < std::min(end, log.size()); ++i)
    if (const double v = f(log[i]); std::isfinite(v)) x.push_back(v);
  return median(x);
}

double loss_of(const LoggedStep& s) { return s.loss; }

constexpr size_t kSmooth = 5;   // lines of a median of the loss
constexpr size_t kFewest = 10;  // lines below which nothing is said of trends

// The last quarter of the log, at least ten lines where there are so many.
size_t late(const std::vector<LoggedStep>& log) {
  return log.size() - std::min(log.size(), std::max<size_t>(kFewest, log.size() / 4));
}

// Mean loads of each layer over the late lines.
std::vector<std::vector<double>> late_loads(const std::vector<LoggedStep>& log) {
  std::vector<std::vector<double>> mean;
  const size_t begin = late(log);
  for (size_t i = begin; i < log.size(); ++i) {
    mean.resize(std::max(mean.size(), log[i].loads.size()));
    for (size_t l = 0; l < log[i].loads.size(); ++l) {
      mean[l].resize(std::max(mean[l].size(), log[i].loads[l].size()), 0);
      for (size_t e = 0; e < log[i].loads[l].size(); ++e)
        mean[l][e] += log[i].loads[l][e] / double(log.size() - begin);
    }
  }
  return mean;
}

void look_at_divergence(const std::vector<LoggedStep>& log, std::vector<Finding>& out) {
  for (const LoggedStep& s : log)
    if (std::isinf(s.loss) || std::isinf(s.grad_norm)) {
      out.push_back({"divergence",
                     fmt::format("the loss or gradient of step {} is not finite", s.step), s.step,
                     "lower optim.lr, lengthen optim.warmup_steps, set optim.grad_clip=1"});
      return;
    }
  if (log.size() < kFewest) return;
  double best = std::numeric_limits<double>::infinity(), best_step = 0;
  for (size_t i = 0; i + kSmooth <= log.size(); ++i)
    if (const double m = median_of(log, i, i + kSmooth, loss_of); m < best)
      best = m, best_step = log[i].step;
  const double last = median_of(log, log.size() - kSmooth, log.size(), loss_of);
  if (last > best + 0.5 && last > 1.2 * best)
    out.push_back(
        {"divergence",
         fmt::format("the loss rose from {:.3f} at step {} to {:.3f} at the end", best, best_step,
                     last),
         last - best,
         "lower optim.lr, lengthen optim.warmup_steps, set optim.grad_clip=1, or a z-loss "
         "(model.moe.z_loss_weight=0.001) where the router's logits grow"});
}

void look_at_learning_rate(const std::vector<LoggedStep>& log, std::vector<Finding>& out) {
  if (log.size() < 2 * kFewest) return;
  // The least of the first lines: a rate far too high shows in the second already.
  double first = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < kSmooth; ++i)
    if (log[i].loss < first) first = log[i].loss;
  const double last = median_of(log, log.size() - kSmooth, log.size(), loss_of);
  double largest = 0, highest = 0, jumps = 0, n = 0;
  for (size_t i = 0; i < log.size(); ++i) {
    largest = std::max(largest, std::isfinite(log[i].lr) ? log[i].lr : 0);
    if (std::isfinite(log[i].loss)) highest = std::max(highest, log[i].loss);
    if (i > 0 && std::isfinite(log[i].loss - log[i - 1].loss))
      jumps += std::fabs(log[i].loss - log[i - 1].loss), n += 1;
  }
  const double jump = n > 0 ? jumps / n : 0;
  if (first - last > 0.05 * first) {
    // It learns; but did it have to come back from far above its beginning?
    if (highest > 1.5 * first && highest > first + 1)
      out.push_back({"learning_rate_too_high",
                     fmt::format("the loss began at {:.3f} and went up to {:.3f} with a learning "
                                 "rate of up to {:.3g}",
                                 first, highest, largest),
                     largest, "lower optim.lr three- to tenfold, or lengthen optim.warmup_steps"});
    return;
  }
  if (highest > first + 0.25 || jump > 0.1 * first)
    out.push_back(
        {"learning_rate_too_high",
         fmt::format("the loss went from {:.3f} to {:.3f}, up to {:.3f} on the way, with a "
                     "learning rate of up to {:.3g}",
                     first, last, highest, largest),
         largest, "lower optim.lr tenfold; moe lr-find shows a range"});
  else
    out.push_back(
        {"learning_rate_too_low",
         fmt::format("the loss fell only from {:.3f} to {:.3f} in {} steps with a learning "
                     "rate of up to {:.3g}",
                     first, last, log.size(), largest),
         largest, "raise optim.lr tenfold; moe lr-find shows a range"});
}

void look_at_overfitting(const std::vector<LoggedStep>& log, std::vector<Finding>& out) {
  double best = std::numeric_limits<double>::infinity(), last = kNone;
  size_t best_at = 0, evaluations = 0;
  for (size_t i = 0; i < log.size(); ++i) {
    if (!std::isfinite(log[i].val_loss)) continue;
    ++evaluations;
    last = log[i].val_loss;
    if (last < best) best = last, best_at = i;
  }
  if (evaluations < 3 || !(last > 1.02 * best)) return;
  const size_t half = kSmooth / 2;
  const double then =
                   median_of(log, best_at > half ? best_at - half : 0, best_at + half + 1, loss_of),
               now =
                   median_of(log, log.size() - std::min(log.size(), kSmooth), log.size(), loss_of);
  if (now < then)
    out.push_back(
        {"overfitting",
         fmt::format("the validation loss rose from {:.3f} at step {} to {:.3f} while the "
                     "training loss fell from {:.3f} to {:.3f}",
                     best, log[best_at].step, last, then, now),
         last - best,
         "stop earlier, more data, model.dropout=0.1, more optim.weight_decay, or fewer and "
         "smaller experts"});
}

void look_at_experts(const std::vector<LoggedStep>& log, std::vector<Finding>& out) {
  const std::vector<std::vector<double>> loads = late_loads(log);
  double fewest = 2;  // effective experts over experts
  size_t worst_layer = 0;
  std::vector<std::string> dead;
  for (size_t l = 0; l < loads.size(); ++l) {
    const double E = double(loads[l].size());
    if (E < 2) continue;
    double entropy = 0;
    for (size_t e = 0; e < loads[l].size(); ++e) {
      const double p = loads[l][e];
      entropy -= p > 0 ? p * std::log(p) : 0;
      if (p < 0.01 / E) dead.push_back(str("layer ", l, " expert ", e));
    }
    if (std::exp(entropy) / E < fewest) fewest = std::exp(entropy) / E, worst_layer = l;
  }
  if (fewest <= 0.55)
    out.push_back({"collapse",
                   fmt::format("the {}. MoE layer works with {:.1f} of its {} experts (exponential "
                               "of the load's entropy)",
                               worst_layer + 1, fewest * double(loads[worst_layer].size()),
                               loads[worst_layer].size()),
                   fewest,
                   "raise model.moe.aux_loss_weight (0.01 is usual), or a router that balances by "
                   "itself: sigmoid_bias, quantile"});
  if (!dead.empty()) {
    const size_t n = dead.size();
    dead.resize(std::min<size_t>(n, 3));
    out.push_back(
        {"dead_experts",
         fmt::format("{} experts take less than 1 % of their fair share: {}{}", n, join(dead, ", "),
                     n > 3 ? " ..." : ""),
         double(n),
         "raise model.moe.aux_loss_weight, fewer experts, or model.moe.router=sigmoid_bias"});
  }
  const double entropy =
      median_of(log, late(log), log.size(), [](const LoggedStep& s) { return s.router_entropy; });
  double widest = 0;
  for (const auto& layer : loads) widest = std::max(widest, double(layer.size()));
  if (widest >= 2 && entropy < 0.05 * std::log(widest))
    out.push_back(
        {"router_saturation",
         fmt::format("a token's router probabilities have an entropy of {:.4f} nats, of at "
                     "most {:.3f}: nearly all on one expert, so that routes no longer learn",
                     entropy, std::log(widest)),
         entropy, "raise model.moe.z_loss_weight (0.001 is usual), lower optim.lr"});
  const double dropped =
      median_of(log, late(log), log.size(), [](const LoggedStep& s) { return s.drop_rate; });
  if (dropped > 0.1)
    out.push_back({"drop_rate",
                   fmt::format("{:.1f} % of the picks find no room in their expert", dropped * 100),
                   dropped,
                   "raise model.moe.capacity_factor (1.25 is usual), set it to 0 (dropless), or "
                   "model.moe.capacity_overflow=reroute"});
}

}  // namespace

std::vector<LoggedStep> read_log(const std::string& run_dir) {
  const std::string path = join_path(run_dir, "metrics.jsonl"), what = "[metrics.jsonl] " + path;
  MOE_CHECK(exists(path), "[doctor] ", printable(run_dir),
            " holds no metrics.jsonl; name a run folder");
  std::vector<LoggedStep> log;
  for (const std::string& line : split(read_file(path), '\n')) {
    boost::json::error_code error;
    const Json value = boost::json::parse(line, error);
    if (error || !value.is_object() || !value.get_object().contains("step")) continue;
    const JsonReader r(value.get_object(), what);
    const auto number = [&](const char* key) { return r.number_or(key, kNone); };
    LoggedStep s{.step = number("step"),
                 .loss = number(r.has("lm_loss") ? "lm_loss" : "loss"),
                 .val_loss = number("val_loss"),
                 .lr = number("lr"),
                 .grad_norm = number("grad_norm"),
                 .router_entropy = number("router_entropy"),
                 .drop_rate = number("drop_rate"),
                 .loads = {}};
    if (const Json* experts = value.get_object().if_contains("experts");
        experts && experts->is_array())
      for (const Json& layer : experts->get_array()) {
        s.loads.emplace_back();
        if (layer.is_array())
          for (const Json& share : layer.get_array())
            s.loads.back().push_back(share.is_number() ? share.to_number<double>() : 0);
      }
    log.push_back(s);
  }
  MOE_CHECK(!log.empty(), "[doctor] ", printable(path), " holds no step yet");
  return log;
}

std::vector<Finding> diagnose(const std::vector<LoggedStep>& log) {
  std::vector<Finding> out;
  look_at_divergence(log, out);
  look_at_learning_rate(log, out);
  if (log.size() >= kFewest) look_at_experts(log, out);
  look_at_overfitting(log, out);
  return out;
}

}  // namespace moe
