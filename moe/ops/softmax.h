// SPDX-License-Identifier: MIT
// Softmax over rows.
#pragma once

#include "moe/autograd/tape.h"

namespace moe::ops {

/// p[t, i] = exp(z[t, i]) / sum_j exp(z[t, j]), stable for any finite z. z: [T, N], N >= 1.
Var softmax(const Var& z_TN);

}  // namespace moe::ops
