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
  /// Takes each step's metrics as one line of JSON, instead of a progress line. An Error that it
  /// throws (a closed pipe) ends the run with a checkpoint and is then passed on.
  std::function<void(const std::string& line)> log_json;
  bool quiet = false;
  /// Asked after every step and between micro-batches (Ctrl-C): true ends the run with a checkpoint
  /// of the last whole step.
  std::function<bool()> stop_requested;
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
  double seconds = 0;                    // of training in this process
  bool out_of_time = false;              // the end came by train.minutes
  std::optional<double> loss;            // of the last step, from the log of a finished run
  std::optional<EvalResult> evaluation;  // the last one
  std::string checkpoint;                // path of the last one
};

/// Trains as config says. Throws Error: run_dir in use (ExitCode::try_again), is a checkpoint or
/// model itself, holds a checkpoint and resume is not asked for, cannot be written (::io); a resume
/// with another function, seed or tokenizer; data or model that do not fit, or not into memory;
/// divergence (the good checkpoints stay, and the last one is named). A run that fails before its
/// first step leaves a run folder as it was, and none that it made.
RunResult run_training(const RunConfig& config, const RunOptions& options);

}  // namespace moe
