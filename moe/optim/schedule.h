// SPDX-License-Identifier: MIT
// Learning-rate schedules: linear warm-up, then constant, linear, cosine (arXiv:1608.03983) or
// warmup-stable-decay (arXiv:2404.06395).
#pragma once

#include "moe/optim/optim_config.h"

namespace moe {

/// The learning rate of `step` (from 0) of a run of total_steps. Warm-up: lr (step + 1) /
/// warmup_steps. Afterwards the place in the run is max(step / total_steps, elapsed_fraction), so
/// that a run limited by time comes down as well.
double learning_rate(const OptimConfig& config, int64_t step, int64_t total_steps,
                     double elapsed_fraction = 0);

}  // namespace moe
