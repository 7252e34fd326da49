// SPDX-License-Identifier: MIT
// Several training runs side by side: what compare, sweep and lr-find share.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moe/train/run_config.h"

namespace moe {

/// One finished run, from its folder's log.
struct TrialResult {
  std::string name;
  int64_t seed = 0, steps = 0;
  double val_loss = 0, train_loss = 0;        // the last ones; val_loss NaN without an evaluation
  double seconds = 0, tokens_per_second = 0;  // of training; median of the steps
  int64_t peak_bytes = 0;                     // of tensors
  double balance = 1, drop_rate = 0;          // of the last step: 1 is even
  std::vector<double> val_steps, val_losses, val_seconds;
};

/// Trains (or, when the folder holds a finished run, reads) config.run_dir. An interrupted run
/// throws Error (ExitCode::interrupted); the same call goes on where it stopped.
TrialResult run_trial(const RunConfig& config, const std::string& name,
                      const std::function<bool()>& stop_requested);

/// What several seeds of one configuration gave.
struct TrialSummary {
  std::string name;
  std::vector<TrialResult> seeds;
  double total_parameters = 0, active_parameters = 0, flop_per_token = 0;

  double mean_val_loss() const;
  double spread() const;  // largest less smallest val loss
  double mean(double TrialResult::*number) const;
};

enum class Match { none, active_parameters, total_parameters, flops, time, loss };
/// "active-params" ...; throws Error (usage) naming the nearest.
Match parse_match(const std::string& text);

/// Changes `config` so that it is comparable with `reference`: active_parameters and
/// total_parameters change the width of the feed-forward networks (experts included), in multiples
/// of 8; flops the number of steps; time sets train.minutes to that of the reference. Throws Error
/// where that is not possible.
void match_to(RunConfig& config, const RunConfig& reference, Match match);

/// "model.moe.n_experts=4,8" as the key and its values; commas inside brackets do not separate.
struct SweepAxis {
  std::string key;
  std::vector<std::string> values;
};
SweepAxis parse_axis(const std::string& text);

/// Loss over the learning rate in one run whose rate grows by the same factor each step.
struct LrCurve {
  std::vector<double> lrs, losses, smoothed;
  double suggestion = 0;  // where the smoothed loss falls fastest
  double largest = 0;     // of the rates before the loss went up
};
LrCurve find_learning_rate(RunConfig config, double from, double to, int64_t steps,
                           const std::function<void(double)>& progress);

}  // namespace moe
