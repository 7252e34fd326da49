// SPDX-License-Identifier: MIT
// How many parameters a configuration has, by formula; inspect, training and file checks use this
// one function.
#pragma once

#include "moe/nn/model_config.h"

namespace moe {

/// double, because a hostile configuration may describe more than 2^63.
struct ParameterCount {
  double total = 0;
  double active = 0;     // used by one token: top_k of n_experts, all else whole
  double embedding = 0;  // token and position tables, part of both
  double stored = 0;     // numbers in memory: total and the pads of the panels
};
ParameterCount count_parameters(const ModelConfig& config);

}  // namespace moe
