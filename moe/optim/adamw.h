// SPDX-License-Identifier: MIT
// AdamW (Loshchilov and Hutter 2017, arXiv:1711.05101) over all parameters; the arithmetic is the
// kernel `adamw`.
#pragma once

#include "moe/optim/optimizer.h"

namespace moe {

class AdamWOptimizer final : public Optimizer {
 public:
  AdamWOptimizer(const OptimConfig& config, std::vector<Parameter> parameters);
  void step(double lr, double grad_scale) override;
  std::vector<StateSlot> state() const override;

 private:
  OptimConfig config_;
  std::vector<Parameter> parameters_;
  std::vector<Tensor> m_, v_;
};

}  // namespace moe
