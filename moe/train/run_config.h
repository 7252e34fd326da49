// SPDX-License-Identifier: MIT
// The whole configuration of a training run, as written in a YAML file.
#pragma once

#include <string>
#include <vector>

#include "moe/data/data_config.h"
#include "moe/nn/model_config.h"
#include "moe/optim/optim_config.h"

namespace moe {

struct TrainConfig {
  int64_t steps = 1000;
  double minutes = 0;  // 0: no limit
  int64_t batch_size = 16, grad_accum = 1;
  int64_t eval_every = 100;        // 0: never
  int64_t eval_windows = 64;       // validation windows of one evaluation, evenly spread; 0: all
  int64_t checkpoint_every = 500;  // 0: only the last
  int64_t keep = 3;
  int64_t seed = 1;
  int64_t threads = 0;  // 0: all CPUs
};

struct RunConfig {
  std::string run_dir = "runs/demo";
  ModelConfig model;
  DataConfig data;
  OptimConfig optim;
  TrainConfig train;
};

/// Binds every key of a run; `config` must outlive the table.
void bind_run_keys(ConfigTable& table, RunConfig& config);

/// Where a configuration comes from; all parts optional. No file and no resume: the defaults, which
/// have a MoE group.
struct ConfigSource {
  std::string file;                    // YAML
  std::vector<std::string> overrides;  // key=value
};
/// Reads the parts in order, takes the model's keys from model.init_from when it is set (a
/// conflicting key of shape or function is an Error; training keys override), and checks relations
/// between groups.
RunConfig read_run_config(const ConfigSource& source);

/// The merged file.
std::string to_yaml(RunConfig config);

}  // namespace moe
