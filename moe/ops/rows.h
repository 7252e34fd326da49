// SPDX-License-Identifier: MIT
// Moving rows: the gather before the experts, concatenation, and the weighted sum after them.
#pragma once

#include "moe/autograd/tape.h"

namespace moe::ops {

/// y[r] = x[rows[r]]. rows_R: i32 in [0, T).
Var gather_rows(const Var& x_TD, const Tensor& rows_R);

/// The rows of a, then those of b.
Var concat_rows(const Var& a, const Var& b);

/// Which expert rows make up each token's output: token t's assignments are [token_offsets_T1[t],
/// token_offsets_T1[t+1]), in ascending expert order; assignment n takes row row_of_N[n] with
/// weight weight_of_N[n] of w_A.
struct CombinePlan {
  Tensor token_offsets_T1, row_of_N, weight_of_N;  // i32
};

/// y[t] = sum over token t's assignments of w_A[weight_of] * rows[row_of], from 0 in plan order.
/// rows_RD: [R, D], each row in at most one assignment; w_A: [A, 1]. Returns [T, D]; a token
/// without assignments gets zeros.
Var combine_rows(const Var& rows_RD, const Var& w_A, const CombinePlan& plan);

}  // namespace moe::ops
