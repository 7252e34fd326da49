// SPDX-License-Identifier: MIT
// The `optim` group of a configuration.
#pragma once

#include <vector>

#include "moe/base/config.h"

namespace moe {

struct OptimConfig {
  std::string name = "adamw";  // adamw | sgd | muon
  double lr = 1e-3;
  std::vector<double> betas = {0.9, 0.95};
  double eps = 1e-8, momentum = 0.95;
  int64_t muon_steps = 5;
  std::string nesterov = "auto";  // muon, sgd; auto: PyTorch's default of each
  double weight_decay = 0.1, l1 = 0, grad_clip = 1;
  std::string schedule = "cosine";  // constant | linear | cosine | wsd
  int64_t warmup_steps = 100, decay_steps = 0;
  double min_lr = 1e-4;
  double ema = 0;  // decay of the averaged weights; 0: none
};

/// Nesterov's form of momentum: PyTorch's Muon has it by default, its SGD does not.
bool uses_nesterov(const OptimConfig& config);

void add_optim_keys(ConfigTable& table, OptimConfig& config);

}  // namespace moe
