// SPDX-License-Identifier: MIT
// Rows of a table by token id (or position).
#pragma once

#include "moe/autograd/tape.h"

namespace moe::ops {

/// ids_T: i32, each in [0, V); w_VD: panels [V, D]. Returns [T, D]. Throws Error naming the first
/// id out of range.
Var embedding(const Tensor& ids_T, const Var& w_VD);

}  // namespace moe::ops
