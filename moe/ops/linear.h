// SPDX-License-Identifier: MIT
// Linear maps with panel weights: y = x W^T + b, for one matrix or one matrix per expert.
#pragma once

#include "moe/autograd/tape.h"

namespace moe::ops {

/// x_TI: [T, I]; w_OI: panels [O, I]; bias: panels [O, 1] or null. Returns [T,
/// w.panel_map().out_cols()]: O columns, or the stored columns (alternating panels of 16) when w is
/// gate_up.
Var linear(const Var& x_TI, const Var& w_OI, const Var& bias = {});

/// Row r of expert e's range offsets_E1[e] <= r < offsets_E1[e+1] meets w[e]. w_EOI: panels [E, O,
/// I]; bias: panels [E, O, 1] or null; offsets_E1: i32, from 0 to R ascending. An expert without
/// rows gets a zero gradient.
Var grouped_linear(const Var& x_RI, const Var& w_EOI, const Tensor& offsets_E1,
                   const Var& bias = {});

}  // namespace moe::ops
