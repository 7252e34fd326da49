// SPDX-License-Identifier: MIT
// A feed-forward network, or one per expert, as one op: up, activation, down. One op and not three,
// because the activation is cheaper to compute again than to keep: only the up projection's output
// is stored for backward, and its gradient takes the same memory.
#pragma once

#include "moe/autograd/tape.h"
#include "moe/kernels/kernels.h"
#include "moe/ops/precision.h"

namespace moe::ops {

struct FeedForwardWeights {
  Var up, up_bias;      // panels [E, F, D], or gate_up panels [E, 2F, D]; bias [E, .., 1] or null
  Var down, down_bias;  // panels [E, D, F]; bias [E, D, 1] or null
  int64_t d_ff = 0;
  bool gated = true;  // h = f(gate) * up (Shazeer 2020, arXiv:2002.05202), else h = f(up)
  Activation kind = Activation::silu;
  Precision precision = {};
};

/// Row r, offsets_E1[e] <= r < offsets_E1[e+1], meets expert e: row token_R[r] of x_TD (token_R:
/// i32, [R]), or row r of x where token_R is null. Returns [R, D]. An expert without rows gets a
/// zero gradient. The same bits as gather, linear, activation, linear.
Var feed_forward(const Var& x_TD, const Tensor& offsets_E1, const Tensor& token_R,
                 const FeedForwardWeights& weights);

/// The same with the sum that follows: y[t] = sum over the rows r with token_R[r] = t, ascending,
/// of weight_R1[r] * (row r of the above), from 0; [T, D]. Neither the experts' outputs nor their
/// gradients are ever stored, so `weights` must hold no down_bias. token_R ascends inside an
/// expert. Forward has the bits of feed_forward and combine_rows; the gradient of a weight is the
/// row reduction of h and of its gradient, h before the down projection.
Var weighted_feed_forward(const Var& x_TD, const Tensor& offsets_E1, const Tensor& token_R,
                          const Var& weight_R1, const FeedForwardWeights& weights);

/// Floats that a row of the op's own matrices takes in memory. Rows of a power of two would lie in
/// the same few sets of the cache, where a tile's rows push one another out.
int64_t padded_columns(int64_t columns);

}  // namespace moe::ops
