// SPDX-License-Identifier: MIT
// Rotary position embedding of the query and key columns of a fused qkv row (Su et al. 2021,
// arXiv:2104.09864).
#pragma once

#include "moe/autograd/tape.h"

namespace moe::ops {

struct RopeArgs {
  Tensor cos_PR, sin_PR;  // [max positions, rotary_dim / 2], same dtype as x
  Tensor positions_T;     // i32
  int64_t heads = 1, head_dim = 0, rotary_dim = 0;
  bool interleaved = false;
  bool in_place = false;  // the result takes x's memory; only where no backward reads x, as behind
                          // a linear map or a norm, and nobody else uses it
};

/// Rotates the first heads * head_dim columns of x_TN; the rest (values) stays as it is.
Var rope(const Var& x_TN, const RopeArgs& args);

}  // namespace moe::ops
