// SPDX-License-Identifier: MIT
// What an adapter's training would touch: its targets, and whether the first step reaches each.
#pragma once

#include <string>
#include <vector>

#include "moe/train/run_config.h"

namespace moe {

struct AdapterTarget {
  std::string name;  // "model.layers.0.mlp.experts.3.up_proj"
  int64_t rank = 0, parameters = 0;
  double grad_norm = 0;  // of A and B together at step 1
};

/// One step of the run's data, without changing a file. A target that no token reaches has a
/// gradient of 0. Throws Error as a run of this configuration would.
std::vector<AdapterTarget> report_adapter(const RunConfig& config);

}  // namespace moe
