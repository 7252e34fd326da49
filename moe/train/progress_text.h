// SPDX-License-Identifier: MIT
// The progress line of a run: everything that matters, within the columns of a terminal.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace moe {

struct TrainingProgress {
  int64_t step = 0, steps = 0;
  double done = 0;  // share of the run, 0 to 1
  double loss = 0;
  std::optional<double> val_loss, balance;  // the last evaluation's; 1 is even
  int64_t dead_experts = 0;                 // shown when there are any
  double drop_rate = 0;                     // of picks, shown when it is not 0
  double tokens_per_second = 0, seconds_left = 0;
  uint64_t memory_bytes = 0;
};

/// "[###-------] step 120 loss 1.234 val 1.345 5432 tok/s ETA 12:34 bal 0.98 155MiB": a bar of at
/// most 10 columns gives way first, and where there is room the number of steps joins the step.
/// Dead experts and dropped picks follow "bal" where there are any and room for them. Fits 79
/// columns for up to 999,999 steps.
std::string progress_text(const TrainingProgress& progress, int columns);

}  // namespace moe
