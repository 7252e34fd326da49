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
/// tokens_per_second, loss_scale (with f16), val_loss (when evaluated), experts (one list of load
/// shares per MoE layer) and, with experts, max_violation, load_cv, load_entropy, router_entropy,
/// dead_experts, dropped, drop_rate, expert_0_usage ...
JsonObject metrics_object(const StepResult& step, double tokens_per_second,
                          const std::optional<EvalResult>& evaluation);

/// How even a step's loads were.
struct LoadSummary {
  double max_violation = 0;   // largest of any expert and layer: load over the mean load, less 1
  double cv = 0;              // standard deviation over mean of a layer's loads, mean of the layers
  double entropy = 0;         // of a layer's load, over ln E, mean of the layers
  double router_entropy = 0;  // of a token's normalised scores, in nats, mean of tokens and layers
  int64_t dead = 0;           // experts of all layers with less than 1 % of their fair share
  int64_t dropped = 0;        // picks without room, all layers
  double drop_rate = 0;       // over all picks
  std::vector<double> usage_E;  // share of the picks, mean of the layers
};
LoadSummary summarize_load(const std::vector<LayerLoad>& experts);

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
