// SPDX-License-Identifier: MIT
// Inverted dropout (Srivastava et al. 2014) with counter-based draws.
#pragma once

#include "moe/autograd/tape.h"
#include "moe/base/rng.h"

namespace moe::ops {

/// y = x / (1 - rate) where the draw of (token_index_T[t], column) is >= rate, else 0.
/// token_index_T: i64, the token's place in the step's stream, so that the mask does not depend on
/// how the step is cut into micro-batches. rate in [0, 1).
Var dropout(const Var& x_TD, double rate, const RngStream& stream, const Tensor& token_index_T);

/// NEFTune (Jain et al. 2023, arXiv:2310.05914): x[t] plus uniform draws in [-1, 1) times
/// alpha / sqrt(L * D), L the tokens of t's sequence. sequence_starts_B1: i32, 0 .. T.
Var embedding_noise(const Var& x_TD, double alpha, const RngStream& stream,
                    const Tensor& token_index_T, const Tensor& sequence_starts_B1);

}  // namespace moe::ops
