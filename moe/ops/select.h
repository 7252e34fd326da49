// SPDX-License-Identifier: MIT
// Weights of routed assignments: picking single numbers out of router scores and normalising them
// per token. Small host loops in one fixed order, the same for every kernel table.
#pragma once

#include "moe/autograd/tape.h"

namespace moe::ops {

/// y[a] = x[row_A[a], column_A[a]]. Returns [A, 1].
Var select_elements(const Var& x_TE, const Tensor& row_A, const Tensor& column_A);

/// y[a] = w[a] / sum of the w of a's token, added in the order of a from 1e-20 (a token whose
/// weights are all 0 gets 0, not NaN). token_A: i32 in [0, n_tokens).
Var normalize_per_token(const Var& w_A1, const Tensor& token_A, int64_t n_tokens);

/// Softmax over the entries of each token, sums in the order of a.
Var softmax_per_token(const Var& z_A1, const Tensor& token_A, int64_t n_tokens);

}  // namespace moe::ops
