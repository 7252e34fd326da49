// SPDX-License-Identifier: MIT
// The global gradient norm and the clip factor.
#pragma once

#include "moe/nn/module.h"

namespace moe {

/// sqrt of the sum of squares of all gradients, each parameter once: in float64 one chain over each
/// logical row of a panel weight and over each 4,096 elements of a row-major one; the chains' sums
/// are added in visit order, rows ascending. Independent of threads. Not finite if any gradient is
/// not.
double gradient_norm(const std::vector<Parameter>& parameters);
/// The same of one piece of a tensor that is stored like the piece's parameter: a Frobenius norm.
double piece_norm(const Tensor& stored, const Piece& piece);

/// Multiplies all gradients that there are.
void scale_gradients(const std::vector<Parameter>& parameters, double factor);

/// min(1, max_norm / (norm + 1e-6)); 1 when max_norm is 0.
double clip_factor(double norm, double max_norm);

}  // namespace moe
