// SPDX-License-Identifier: MIT
// Pointwise activations and their gated forms (SwiGLU, GeGLU, ReGLU: Shazeer 2020,
// arXiv:2002.05202).
#pragma once

#include "moe/autograd/tape.h"
#include "moe/kernels/kernels.h"

namespace moe::ops {

/// y = f(x), any shape.
Var activation(const Var& x, Activation kind);

/// h = f(gate) * up. gu: [R, stored columns] as a gate_up linear makes it (alternating panels of
/// 16); returns [R, d_ff].
Var gated_activation(const Var& gu, int64_t d_ff, Activation kind);

}  // namespace moe::ops
