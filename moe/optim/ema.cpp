// SPDX-License-Identifier: MIT
#include "moe/optim/ema.h"

#include <algorithm>
#include <cstring>

#include "moe/kernels/kernels.h"

namespace moe {

WeightAverage::WeightAverage(double decay, std::vector<Parameter> parameters)
    : decay_(decay), parameters_(std::move(parameters)) {
  for (const Parameter& p : parameters_) average_.push_back(p.var.value().clone());
}

void WeightAverage::update(int64_t t) {
  const double d = std::min(decay_, (1.0 + double(t)) / (10.0 + double(t)));
  auto flat = [](const Tensor& x) {
    return MatView{x.raw(), x.dtype(), 1, x.stored_numel(), x.stored_numel()};
  };
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Kernels& k = kernels(average_[i].dtype());
    k.scale(flat(average_[i]), flat(average_[i]), d);
    k.scale_accumulate(flat(average_[i]), flat(parameters_[i].var.value()), 1 - d);
  }
}

void WeightAverage::swap() {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor weights = parameters_[i].var.value().clone();
    std::memcpy(parameters_[i].var.value().raw(), average_[i].raw(),
                size_t(weights.stored_bytes()));
    std::memcpy(average_[i].raw(), weights.raw(), size_t(weights.stored_bytes()));
  }
}

std::vector<StateSlot> WeightAverage::state() const {
  std::vector<StateSlot> slots;
  for (size_t i = 0; i < parameters_.size(); ++i) slots.push_back({"raw", i, average_[i]});
  return slots;
}

}  // namespace moe
