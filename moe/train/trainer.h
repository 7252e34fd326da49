// SPDX-License-Identifier: MIT
// One optimiser step after another: micro-batches, loss, gradients, clipping, update, router
// updates; and evaluation. Knows no files but its own state; run.h drives it.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "moe/base/json.h"
#include "moe/data/dataset.h"
#include "moe/data/loader.h"
#include "moe/io/safetensors_writer.h"
#include "moe/nn/transformer_lm.h"
#include "moe/optim/ema.h"
#include "moe/optim/loss_scaler.h"
#include "moe/optim/optimizer.h"
#include "moe/train/expert_care.h"
#include "moe/train/run_config.h"
#include "moe/train/step_guard.h"

namespace moe {

struct LayerLoad {
  int layer = 0;
  RouterStats stats;
};

struct StepResult {
  int64_t step = 0;  // optimiser steps done, this one included
  double loss = 0, lm_loss = 0, aux_loss = 0,
         z_loss = 0;  // loss = lm_loss + aux_loss + z_loss, nats per token
  double grad_norm = 0, lr = 0;
  double optimizer_seconds = 0;    // of the step: norm of the gradient, clipping, update, averages
  int64_t tokens = 0;              // trained in this step
  std::vector<LayerLoad> experts;  // summed over micro-batches
  std::vector<std::vector<double>> expert_norms;  // of gradients, [MoE layer][expert], if measured
  std::vector<RevivedExpert> revived;
  /// Nothing but the step's number changed: by the guard (train.max_skips), or because float16
  /// gradients overflowed.
  bool skipped = false;
  bool overflowed = false;
  double loss_scale = 0;  // of the step; 0: none
};

struct EvalResult {
  double loss = 0;                // nats per token, auxiliary losses left out
  int64_t tokens = 0, bytes = 0;  // bytes: 0 without a tokenizer
  std::vector<LayerLoad> experts;
  /// Picks of each expert by subject: [MoE layer][expert][subject]; empty when the data have no
  /// subjects.
  std::vector<std::vector<std::vector<int64_t>>> subject_counts;
};

/// The packed tensors a forward pass wants.
ForwardContext make_context(const Batch& batch);

class Trainer {
 public:
  /// model and dataset must outlive the trainer.
  Trainer(const RunConfig& config, const Dataset& dataset, TransformerLM& model);

  /// From now on every step takes this rate, whatever the schedule says.
  void fix_learning_rate(double lr) { fixed_lr_ = lr; }

  /// elapsed_fraction: share of train.minutes used up, 0 without a limit. Throws Error when the
  /// loss or the gradient is not finite; the weights are then those of the step before.
  StepResult step(double elapsed_fraction = 0);
  /// The same, but stop is asked between micro-batches; true throws the whole step away, and
  /// nothing has changed.
  std::optional<StepResult> step(double elapsed_fraction, const std::function<bool()>& stop);
  /// What is trained, with the gradients of the latest step.
  const std::vector<Parameter>& parameters() const { return parameters_; }
  int64_t steps_done() const { return steps_done_; }
  int64_t tokens_done() const { return tokens_done_; }

  /// Steps that were skipped, and whether so many in a row that the run should go back.
  const StepGuard& guard() const { return guard_; }
  /// Back to the state of a checkpoint of this run, whose weights the model holds, and on with data
  /// that come after those of the steps done so far.
  void go_back(const std::string& folder);

  /// On the validation split, with averaged weights if there are any; nothing without a split.
  /// Throws Error when the loss is not finite.
  std::optional<EvalResult> evaluate();

  /// Throws Error unless the weights are worth keeping: they, the averaged ones and the optimiser's
  /// state are finite, and so is the loss that they give on the first micro-batch of the next step.
  void check_weights();

  /// While it lives, the model holds the averaged weights (optim.ema), if there are any: those that
  /// are evaluated, saved and served. The trainer must outlive it.
  class Averaged {
   public:
    explicit Averaged(Trainer& trainer);
    ~Averaged();
    Averaged(const Averaged&) = delete;
    Averaged& operator=(const Averaged&) = delete;

   private:
    Trainer& trainer_;
  };

  /// Optimiser state, piece by piece, and with averaged weights the raw ones: a checkpoint's model
  /// holds the average, so an Averaged must live meanwhile.
  std::vector<TensorSource> state_tensors() const;
  JsonObject state_json() const;
  /// Restores what state_tensors and state_json gave, from a checkpoint folder whose weights the
  /// model holds. Throws Error when something is missing or does not fit.
  void load_state(const std::string& folder);

 private:
  std::optional<double> fixed_lr_;
  std::vector<StateSlot> all_slots() const;
  double first_loss_of_next_step() const;
  [[noreturn]] void fail_diverged(const std::string& what) const;

  const RunConfig& config_;
  const Dataset& dataset_;
  TransformerLM& model_;
  std::vector<Parameter> parameters_;
  Loader loader_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<WeightAverage> average_;  // null: none
  ExpertCare care_;
  bool is_averaged_ = false;  // the model holds the averaged weights now
  StepGuard guard_;
  std::optional<LossScaler> scaler_;  // of compute_dtype f16
  int64_t steps_done_ = 0, tokens_done_ = 0;
  int64_t data_jump_ = 0;  // steps of data that were left behind by going back
  int64_t data_step() const { return steps_done_ + data_jump_; }
};

}  // namespace moe
