// SPDX-License-Identifier: MIT
// Elementwise ops and scaling by a vector over columns or rows.
#pragma once

#include "moe/autograd/tape.h"

namespace moe::ops {

/// Same shape and dtype.
Var add(const Var& a, const Var& b);
Var multiply(const Var& a, const Var& b);
Var scale(const Var& x, double factor);

/// y[t, d] = x[t, d] * gamma[d]: LayerScale (Touvron et al. 2021, arXiv:2103.17239).
Var scale_columns(const Var& x_TD, const Var& gamma_D);
/// y[t, d] = w[t] * x[t, d]. w_T1: [T, 1].
Var scale_rows(const Var& x_TD, const Var& w_T1);

}  // namespace moe::ops
