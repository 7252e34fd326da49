// SPDX-License-Identifier: MIT
// What an adapter's training would touch: its targets, and whether the first step reaches each.
#pragma once

#include <string>
#include <vector>

#include "moe/nn/adapter_targets.h"
#include "moe/train/run_config.h"

namespace moe {

struct TargetGradient {
  AdapterTarget target;
  double grad_norm = 0;  // of all its parameters together at step 1
};

/// One step of the run's data, without changing a file. A target that no token reaches has a
/// gradient of 0. Throws Error as a run of this configuration would.
std::vector<TargetGradient> report_adapter(const RunConfig& config);

}  // namespace moe
