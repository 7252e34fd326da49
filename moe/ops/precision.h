// SPDX-License-Identifier: MIT
// Mixed precision (Micikevicius et al. 2018, arXiv:1710.03740): matrix products and attention take
// operands of two bytes a number, bf16 or f16, add up in float32 and round what they return; what
// they keep for backward takes two bytes too. Weights and gradients stay float32, and so do norms,
// routers, softmax, the residual stream and the loss.
#pragma once

#include "moe/autograd/tape.h"
#include "moe/kernels/kernels.h"

namespace moe::ops {

/// What a product computes in. f32: nothing is rounded, and numbers may be float64 too.
struct Precision {
  DType type = DType::f32;
  bool round_result = true;

  bool is_narrow() const { return type != DType::f32; }
};

/// A new tensor of the same layout, its numbers rounded to bf16 or f16 and kept as float32.
Tensor rounded(const Tensor& t, DType type);
/// In place.
void round_numbers(const MatView& x, DType type);

/// A float32 tensor in half its memory. Loses nothing of numbers that are rounded already.
class Narrow {
 public:
  Narrow(const Tensor& t, DType type);
  Tensor wide() const;

 private:
  Tensor t_;
};

/// Adds d, which nobody else writes to, to a gradient.
void add_gradient(GradPlace& place, const Tensor& d);

}  // namespace moe::ops
