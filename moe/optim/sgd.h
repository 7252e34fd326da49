// SPDX-License-Identifier: MIT
// Stochastic gradient descent with momentum, in PyTorch's form: g += decay * w; buf = g at the
// first step, then momentum * buf + g; Nesterov (optim.nesterov: true): g + momentum * buf; w -= lr
// * that.
#pragma once

#include "moe/optim/optimizer.h"

namespace moe {

class SgdOptimizer final : public Optimizer {
 public:
  SgdOptimizer(const OptimConfig& config, std::vector<Parameter> parameters);
  void step(double lr, double grad_scale) override;
  std::vector<StateSlot> state() const override;

 private:
  OptimConfig config_;
  std::vector<Parameter> parameters_;
  std::vector<Tensor> momentum_;
};

}  // namespace moe
