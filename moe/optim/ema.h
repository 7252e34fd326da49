// SPDX-License-Identifier: MIT
// Exponential moving average of the weights: e = d e + (1 - d) w with d = min(decay, (1 + t) / (10
// + t)), t steps done.
#pragma once

#include "moe/optim/optimizer.h"

namespace moe {

class WeightAverage {
 public:
  WeightAverage(double decay, std::vector<Parameter> parameters);
  /// After optimiser step number t (from 1).
  void update(int64_t t);
  /// Swaps the averages and the weights; twice restores.
  void swap();
  /// What this object holds: averages, or after swap() the weights. Name "raw", because a
  /// checkpoint is written while the model holds the averages.
  std::vector<StateSlot> state() const;

 private:
  double decay_;
  std::vector<Parameter> parameters_;
  std::vector<Tensor> average_;
};

}  // namespace moe
