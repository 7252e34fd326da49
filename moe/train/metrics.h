// SPDX-License-Identifier: MIT
// What a run writes about itself: metrics.jsonl, TensorBoard events, loss.svg, experts.svg.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "moe/base/fs.h"
#include "moe/base/json.h"
#include "moe/report/tensorboard.h"
#include "moe/train/trainer.h"

namespace moe {

/// The JSON object of one step: step, loss, lm_loss, aux_loss, z_loss, grad_norm, lr, tokens,
/// tokens_per_second, val_loss (when evaluated), experts (one list of load shares per MoE layer).
JsonObject metrics_object(const StepResult& step, double tokens_per_second,
                          const std::optional<EvalResult>& evaluation);

/// Mean over layers of the load's entropy divided by ln E: 1 is even, 0 is one expert. 1 without
/// experts.
double expert_balance(const std::vector<LayerLoad>& experts);

/// "loss" of the last line of a run's metrics.jsonl; nothing when there is none.
std::optional<double> last_logged_loss(const std::string& run_dir);

class MetricsLog {
 public:
  /// Opens metrics.jsonl for appending and a new TensorBoard file. Lines of steps beyond first_step
  /// - 1 are removed: those steps run again.
  MetricsLog(Fs& fs, const std::string& run_dir, int64_t first_step, double unix_seconds);
  ~MetricsLog();
  void add(const JsonObject& metrics, double unix_seconds);
  /// Writes loss.svg, and experts.svg from an evaluation; where there is none, from the loads of a
  /// training step.
  void write_plots(const std::optional<EvalResult>& evaluation,
                   const std::vector<LayerLoad>& trained,
                   const std::vector<std::string>& subject_names);
  /// The TensorBoard events so far become visible to other processes.
  void flush();
  /// Everything so far is on the disk: a checkpoint must not know more than the log.
  void sync();

 private:
  Fs& fs_;
  std::string run_dir_;
  std::unique_ptr<WritableFile> file_;
  std::unique_ptr<TensorBoardWriter> events_;
  std::vector<double> steps_, losses_, val_steps_, val_losses_;
};

}  // namespace moe
