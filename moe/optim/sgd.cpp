// SPDX-License-Identifier: MIT
#include "moe/optim/sgd.h"

#include "moe/base/parallel.h"

namespace moe {

SgdOptimizer::SgdOptimizer(const OptimConfig& config, std::vector<Parameter> parameters)
    : config_(config), parameters_(std::move(parameters)) {
  for (const Parameter& p : parameters_)
    momentum_.push_back(Tensor::zeros(p.var.shape(), p.var.dtype(), p.var.value().layout()));
}

void SgdOptimizer::step(double lr, double grad_scale) {
  steps_ += 1;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Parameter& p = parameters_[i];
    auto update = [&](auto w, auto buf, auto grad) {
      using T = std::remove_cvref_t<decltype(w[0])>;
      const T decay = T(decays(p.role) ? config_.weight_decay : 0), mu = T(config_.momentum),
              rate = T(lr), scale = T(grad_scale);
      const bool first = steps_ == 1, nesterov = uses_nesterov(config_);
      parallel_for(int64_t(w.size()), 4096, [&](int64_t begin, int64_t end) {
        for (size_t j = size_t(begin); j < size_t(end); ++j) {
          const T g = grad[j] * scale + decay * w[j];
          buf[j] = first ? g : mu * buf[j] + g;
          w[j] -= rate * (nesterov ? g + mu * buf[j] : buf[j]);
        }
      });
    };
    if (p.var.dtype() == DType::f64)
      update(p.var.value().data<double>(), momentum_[i].data<double>(),
             p.var.grad().data<double>());
    else
      update(p.var.value().data<float>(), momentum_[i].data<float>(), p.var.grad().data<float>());
  }
}

std::vector<StateSlot> SgdOptimizer::state() const {
  std::vector<StateSlot> slots;
  for (size_t i = 0; i < parameters_.size(); ++i) slots.push_back({"momentum", i, momentum_[i]});
  return slots;
}

}  // namespace moe
