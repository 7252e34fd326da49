// SPDX-License-Identifier: MIT
// Next-token cross-entropy fused with log-softmax.
#pragma once

#include "moe/autograd/tape.h"

namespace moe::ops {

/// Sum of token losses in nats, in token order, running on over micro-batches.
struct LossSum {
  double sum = 0;
  int64_t tokens = 0;
};

/// logits_TV: [T, V]; targets_T: i32 in [-1, V), -1 = not trained on. Returns a float64 scalar: sum
/// of the token losses / n_tokens, where n_tokens is the number of trained tokens of the whole
/// optimiser step. Adds the token losses to `running` when given.
Var cross_entropy(const Var& logits_TV, const Tensor& targets_T, int64_t n_tokens,
                  LossSum* running = nullptr);

}  // namespace moe::ops
