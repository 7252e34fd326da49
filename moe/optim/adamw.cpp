// SPDX-License-Identifier: MIT
#include "moe/optim/adamw.h"

#include <cmath>

#include "moe/kernels/kernels.h"

namespace moe {
namespace {

// All stored elements as one row; pads stay 0 because weight, gradient and moments of a pad are 0.
MatView flat(const Tensor& t) {
  return {t.raw(), t.dtype(), 1, t.stored_numel(), t.stored_numel()};
}

}  // namespace

AdamWOptimizer::AdamWOptimizer(const OptimConfig& config, std::vector<Parameter> parameters)
    : config_(config), parameters_(std::move(parameters)) {
  for (const Parameter& p : parameters_) {
    m_.push_back(Tensor::zeros(p.var.shape(), p.var.dtype(), p.var.value().layout()));
    v_.push_back(Tensor::zeros(p.var.shape(), p.var.dtype(), p.var.value().layout()));
  }
}

void AdamWOptimizer::step(double lr, double grad_scale) {
  steps_ += 1;
  const double b1 = config_.betas[0], b2 = config_.betas[1], t = double(steps_);
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Parameter& p = parameters_[i];
    kernels(p.var.dtype())
        .adamw(flat(p.var.value()), flat(m_[i]), flat(v_[i]), flat(p.var.grad()),
               {.lr = lr,
                .beta1 = b1,
                .beta2 = b2,
                .eps = config_.eps,
                .weight_decay = decays(p.role) ? config_.weight_decay : 0,
                .bias_correction1 = 1 - std::pow(b1, t),
                .bias_correction2 = 1 - std::pow(b2, t),
                .grad_scale = grad_scale});
  }
}

std::vector<StateSlot> AdamWOptimizer::state() const {
  std::vector<StateSlot> slots;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    slots.push_back({"exp_avg", i, m_[i]});
    slots.push_back({"exp_avg_sq", i, v_[i]});
  }
  return slots;
}

}  // namespace moe
