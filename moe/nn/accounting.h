// SPDX-License-Identifier: MIT
// How many parameters a configuration has, by formula; inspect, training and file checks use this
// one function.
#pragma once

#include <string>
#include <vector>

#include "moe/autograd/recompute.h"
#include "moe/nn/model_config.h"

namespace moe {

/// double, because a hostile configuration may describe more than 2^63. A token uses
/// expert_picks() experts.
struct ParameterCount {
  double total = 0;
  double active = 0;     // used by one token: its share of the experts, all else whole
  double embedding = 0;  // token and position tables, part of both
  double stored = 0;     // numbers in memory: total and the pads of the panels
};
ParameterCount count_parameters(const ModelConfig& config);

/// The experts that work for one token: experts_per_token(); where the router also has outputs
/// without weights (longcat, moe_pp), their share of it when every output is as likely.
double expert_picks(const MoeConfig& config);

/// How a training step computes.
struct StepMode {
  DType compute_dtype = DType::f32;
  Recompute recompute = Recompute::none;
};

struct MemoryPart {
  std::string name;
  double bytes = 0;
};
/// Peak memory of a training step on `sequences` windows of seq_len tokens: weights,
/// gradients, optimizer_slots numbers a parameter of state, what forward keeps for backward, what
/// backward adds at its widest point (the last layer), and the program itself. Experts are taken as
/// evenly loaded and dropless.
std::vector<MemoryPart> training_memory(const ModelConfig& config, int64_t sequences,
                                        int64_t seq_len, int optimizer_slots, StepMode mode = {});
double total_bytes(const std::vector<MemoryPart>& parts);

}  // namespace moe
