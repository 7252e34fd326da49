// SPDX-License-Identifier: MIT
// Muon (Jordan et al. 2024): momentum, then an approximate orthogonalisation of each logical matrix
// (q, k, v, gate, up and every expert apart) by a few Newton-Schulz steps (optim.muon_steps). The
// rest of the parameters is AdamW's. Products are GEMM chains in the parameter's own type, the
// Frobenius norm follows the gradient-norm rule (docs/NUMERICS.md).
#pragma once

#include "moe/optim/adamw.h"

namespace moe {

struct MuonStep {
  double lr, momentum, weight_decay, grad_scale;
  bool nesterov = true;
  int64_t iterations = 5;       // of Newton-Schulz
  bool match_rms_adamw = true;  // scale 0.2 sqrt(max(rows, cols)), so that AdamW's lr and decay
                                // carry over; else sqrt(max(1, rows / cols))
};
/// One step on one row-major matrix: buf = momentum * buf + (1 - momentum) g, w = w (1 - lr decay)
/// - lr * scale * orthogonalise(..).
void muon_update(const Tensor& w, const Tensor& buf, const Tensor& grad, const MuonStep& step);

/// Newton-Schulz: x / |x|, then in each iteration x <- a x + (b A + c A A) x with A = x x^T, on the
/// smaller side. Row-major, any floating type.
Tensor orthogonalize(const Tensor& matrix, int64_t iterations = 5);

class MuonOptimizer final : public Optimizer {
 public:
  MuonOptimizer(const OptimConfig& config, std::vector<Parameter> parameters);
  void step(double lr, double grad_scale) override;
  std::vector<StateSlot> state() const override;

 private:
  OptimConfig config_;
  std::vector<Parameter> matrices_;
  std::vector<size_t> matrix_index_, other_index_;  // places among all parameters
  std::vector<Tensor> momentum_;
  AdamWOptimizer rest_;
};

}  // namespace moe
