// SPDX-License-Identifier: MIT
// What is wrong with a run, told from its metrics.jsonl alone: each finding with the number that
// shows it and the setting to try.
#pragma once

#include <string>
#include <vector>

namespace moe {

struct Finding {
  std::string name;      // "collapse", "dead_experts", "router_saturation", "divergence",
                         // "overfitting", "drop_rate", "learning_rate_too_high",
                         // "learning_rate_too_low"
  std::string evidence;  // one sentence with the numbers
  double value = 0;      // the number
  std::string advice;    // what to try
};

/// One line of the log; NaN where it says nothing.
struct LoggedStep {
  double step = 0, loss = 0, val_loss = 0, lr = 0, grad_norm = 0, router_entropy = 0, drop_rate = 0;
  std::vector<std::vector<double>> loads;  // [layer][expert]
};

/// Lines that a crash cut short are passed over. Throws Error when there is no log or no step in
/// it.
std::vector<LoggedStep> read_log(const std::string& run_dir);

/// The worst first. A short log says little: most need ten steps or more.
std::vector<Finding> diagnose(const std::vector<LoggedStep>& log);

}  // namespace moe
