// SPDX-License-Identifier: MIT
// Linear maps with panel weights: y = x W^T + b, for one matrix or one matrix per expert.
#pragma once

#include "moe/autograd/tape.h"
#include "moe/kernels/kernels.h"
#include "moe/ops/precision.h"

namespace moe::ops {

/// x_TI: [T, I]; w_OI: panels [O, I]; bias: panels [O, 1] or null. Returns [T,
/// w.panel_map().out_cols()]: O columns, or the stored columns (alternating panels of 16) when w is
/// gate_up.
Var linear(const Var& x_TI, const Var& w_OI, const Var& bias = {}, Precision precision = {});

/// Row r of expert e's range offsets_E1[e] <= r < offsets_E1[e+1] meets w[e]. w_EOI: panels [E, O,
/// I]; bias: panels [E, O, 1] or null; offsets_E1: i32, from 0 to R ascending. An expert without
/// rows gets a zero gradient.
Var grouped_linear(const Var& x_RI, const Var& w_EOI, const Tensor& offsets_E1,
                   const Var& bias = {}, Precision precision = {});

/// Offsets of rows that all belong to one matrix: {0, n_rows}.
Tensor one_group(int64_t n_rows);

/// Where the rows of a product lie, where that is not row r: its row r is row x[r] of the input and
/// row y[r] of the output, which it is added to with weight_R1[r]. i32 [R], ascending inside an
/// expert; null: row r.
struct ProductRows {
  Tensor x = {}, y = {}, weight_R1 = {};
};

// The three parts, for ops that hold linear maps inside. fwd checks the shapes and overwrites y, or
// with rows.y adds to it; bwd_weights adds to (or, at first use, sets) the gradients of w and bias
// that are wanted; bwd_input adds dy W to dx, or sets it; with rows.x it must add.
void grouped_linear_fwd(const Kernels& k, const MatView& y, const MatView& x, const Var& w,
                        const Var& bias, const Tensor& offsets_E1, const ProductRows& rows = {});
void grouped_linear_bwd_weights(const Kernels& k, const MatView& dy, const MatView& x, const Var& w,
                                const Var& bias, const Tensor& offsets_E1,
                                const ProductRows& rows = {});
void grouped_linear_bwd_input(const Kernels& k, const MatView& dx, bool accumulate,
                              const MatView& dy, const Var& w, const Tensor& offsets_E1,
                              const ProductRows& rows = {});

}  // namespace moe::ops
