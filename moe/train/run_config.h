// SPDX-License-Identifier: MIT
// The whole configuration of a training run, as written in a YAML file.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moe/data/data_config.h"
#include "moe/nn/accounting.h"
#include "moe/nn/lora.h"
#include "moe/nn/model_config.h"
#include "moe/optim/optim_config.h"

namespace moe {

struct TrainConfig {
  int64_t steps = 1000;
  double epochs = 0;       // over the training windows, in place of steps; 0: steps count
  int64_t early_stop = 0;  // evaluations in a row without a better loss; 0: never
  double minutes = 0;      // 0: no limit
  int64_t batch_size = 16, grad_accum = 1;
  int64_t eval_every = 100;        // 0: never
  int64_t eval_windows = 64;       // validation windows of one evaluation, evenly spread; 0: all
  int64_t checkpoint_every = 500;  // 0: only the last
  int64_t keep = 3;
  int64_t seed = 1;
  std::string compute_dtype = "f32";  // of matrix products: f32 | bf16 | f16
  double loss_scale = 65536;          // of f16, at the start
  int64_t loss_scale_window = 2000;   // steps without an overflow before it doubles; 0: never
  std::string recompute = "none";     // none | ffn | block
  StepMode mode() const;
  int64_t threads = 0;  // 0: all CPUs
  std::string freeze;   // "router", "experts", patterns of tensor names
  double expert_grad_clip = 0;
  bool log_expert_norms = false;
  int64_t dead_expert_steps = 0;
  int64_t max_skips = 0;    // skipped steps in a row before the run goes back; 0: no guard
  double spike_sigmas = 6;  // a gradient norm so far above the latest ones is a spike; 0: none is
};

struct RunConfig {
  std::string run_dir = "runs/demo";
  std::string stage = "pretrain";  // pretrain | sft
  ModelConfig model;
  DataConfig data;
  LoraConfig lora;
  OptimConfig optim;
  TrainConfig train;
  bool has_adapter() const { return lora.is_on(); }
};

/// Binds every key of a run; `config` must outlive the table.
void bind_run_keys(ConfigTable& table, RunConfig& config);

/// Where a configuration comes from; all parts optional. No file and no resume: the defaults, which
/// have a MoE group.
struct ConfigSource {
  std::string file;                    // YAML
  std::vector<std::string> overrides;  // key=value
  bool resume = false;
};
/// Reads the parts in order, takes the model's keys from model.init_from when it is set (a
/// conflicting key of shape or function is an Error; training keys override) and its tokenizer.json
/// unless data.tokenizer is set, and checks relations between groups. When a run with a valid
/// checkpoint is resumed, the checkpoint stands for init_from, which need not exist any more.
/// Everything wrong with the file or the keys is ExitCode::usage.
RunConfig read_run_config(const ConfigSource& source);

/// Whether a run may go on from a checkpoint of `saved`: keys that change what the model computes,
/// its tokenizer or the seed must be the same; those of training may differ. Throws Error (usage)
/// that names the first key, both values and what to do.
void check_resumable(const RunConfig& config, const RunConfig& saved);

/// The configuration that a checkpoint was saved with; nothing when it holds none.
std::optional<RunConfig> read_saved_config(const std::string& checkpoint);

/// The merged file.
std::string to_yaml(RunConfig config);

}  // namespace moe
