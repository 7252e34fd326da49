// SPDX-License-Identifier: MIT
// A normalisation layer: RMSNorm, or LayerNorm with or without bias.
#pragma once

#include "moe/nn/model_config.h"
#include "moe/nn/module.h"

namespace moe {

struct Norm {
  Var weight_D, bias_D;  // bias null for RMSNorm and bias-free LayerNorm
  bool layer_norm = false;
  double eps = 1e-6;

  Norm() = default;
  Norm(const ModelConfig& config, int64_t width, DType dtype);
  Var operator()(const Var& x_TD) const;
  void visit(const Visitor& v) const;  // prefix + "weight", "bias"
};

/// A 1-D parameter, visited as one vector piece.
void visit_vector(const Visitor& v, const std::string& name, const Var& var, Role role);

}  // namespace moe
