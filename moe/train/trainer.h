// SPDX-License-Identifier: MIT
// One optimiser step after another: micro-batches, loss, gradients, clipping, update, router
// updates; and evaluation. Knows no files but its own state; run.h drives it.
#pragma once

#include <optional>
#include <vector>

#include "moe/base/json.h"
#include "moe/data/dataset.h"
#include "moe/data/loader.h"
#include "moe/io/safetensors_writer.h"
#include "moe/nn/transformer_lm.h"
#include "moe/optim/ema.h"
#include "moe/optim/optimizer.h"
#include "moe/train/run_config.h"

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

  /// elapsed_fraction: share of train.minutes used up, 0 without a limit. Throws Error when the
  /// loss or the gradient is not finite; the weights are then those of the step before.
  StepResult step(double elapsed_fraction = 0);
  int64_t steps_done() const { return steps_done_; }
  int64_t tokens_done() const { return tokens_done_; }

  /// On the validation split, with averaged weights if there are any; nothing without a split.
  std::optional<EvalResult> evaluate();

  /// Optimiser state and averaged weights, piece by piece.
  std::vector<TensorSource> state_tensors() const;
  JsonObject state_json() const;
  /// Restores what state_tensors and state_json gave, from a checkpoint folder. Throws Error when
  /// something is missing or does not fit.
  void load_state(const std::string& folder);

 private:
  std::vector<StateSlot> all_slots() const;

  const RunConfig& config_;
  const Dataset& dataset_;
  TransformerLM& model_;
  std::vector<Parameter> parameters_;
  Loader loader_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<WeightAverage> average_;  // null: none
  int64_t steps_done_ = 0, tokens_done_ = 0;
};

}  // namespace moe
