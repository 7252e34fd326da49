// SPDX-License-Identifier: MIT
#include "moe/nn/norm.h"

#include "moe/ops/norm.h"

namespace moe {

Norm::Norm(const ModelConfig& config, int64_t width, DType dtype)
    : layer_norm(config.norm == "layer_norm"), eps(config.norm_eps) {
  weight_D = Var(Tensor::zeros({width}, dtype), true);
  if (layer_norm && config.bias) bias_D = Var(Tensor::zeros({width}, dtype), true);
}

Var Norm::operator()(const Var& x_TD) const {
  return layer_norm ? ops::layer_norm(x_TD, weight_D, bias_D, eps)
                    : ops::rms_norm(x_TD, weight_D, eps);
}

void visit_vector(const Visitor& v, const std::string& name, const Var& var, Role role) {
  const std::string full = v.prefix + name;
  v.parameter({.name = full,
               .var = var,
               .role = role,
               .pieces = {{.name = full, .rows = var.value().numel(), .is_vector = true}},
               .other_uses = {}});
}

void Norm::visit(const Visitor& v) const {
  visit_vector(v, "weight", weight_D, Role::norm);
  if (bias_D) visit_vector(v, "bias", bias_D, Role::bias);
}

}  // namespace moe
