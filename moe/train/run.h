// SPDX-License-Identifier: MIT
// A training run in its folder: configuration, lock, resume, progress, metrics, plots, checkpoints.
#pragma once

#include <atomic>
#include <functional>
#include <string>

#include "moe/base/clock.h"
#include "moe/base/fs.h"
#include "moe/train/run_config.h"
#include "moe/train/trainer.h"

namespace moe {

struct RunOptions {
  bool resume = false;
  bool log_json = false;  // each step's metrics object on stdout instead of a progress line
  bool quiet = false;
  std::function<bool()>
      stop_requested;  // asked after every step (Ctrl-C): true ends the run with a checkpoint
  /// Called after every evaluation with the model as it is: samples of text, for instance. May
  /// print lines.
  std::function<void(const Trainer& trainer, const TransformerLM& model, const Dataset& data)>
      after_eval;
  Fs* fs = nullptr;  // null: the real one
  Clock* clock = nullptr;
};

struct RunResult {
  enum class End { finished, interrupted, already_finished };
  End end = End::finished;
  int64_t steps = 0;
  double seconds = 0;  // of training in this process
  double loss = 0;
  std::optional<EvalResult> evaluation;  // the last one
  std::string checkpoint;                // path of the last one
};

/// Trains as config says. Throws Error: run_dir in use (ExitCode::try_again), holds a checkpoint
/// and resume is not asked for, cannot be written
/// (::io), data or model that do not fit, divergence (the last checkpoint stays).
RunResult run_training(const RunConfig& config, const RunOptions& options);

}  // namespace moe
