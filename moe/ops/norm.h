// SPDX-License-Identifier: MIT
// RMSNorm (arXiv:1910.07467) and LayerNorm (arXiv:1607.06450), over whole rows or over a range of
// columns cut into groups.
#pragma once

#include "moe/autograd/tape.h"

namespace moe::ops {

/// y = x / sqrt(mean x^2 + eps) * w over each row. x_TD: [T, D]; w_D: [D].
Var rms_norm(const Var& x_TD, const Var& w_D, double eps);

/// A range of columns cut into `groups` equal parts, each normalised by itself with the shared
/// weight w [count / groups].
struct NormColumns {
  int64_t begin = 0, count = 0, groups = 1;
  Var w;
};
/// RMSNorm of some column ranges (queries, keys); all other columns are copied.
Var rms_norm_columns(const Var& x_TN, const std::vector<NormColumns>& ranges, double eps);

/// y = (x - mean) / sqrt(var + eps) * w + b over each row; b may be null.
Var layer_norm(const Var& x_TD, const Var& w_D, const Var& b_D, double eps);

}  // namespace moe::ops
