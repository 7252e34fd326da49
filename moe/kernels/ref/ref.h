// SPDX-License-Identifier: MIT
// The reference kernels, one group of functions per file. What these loops do, operation by
// operation, is the contract (docs/NUMERICS.md); speed is nobody's concern here.
#pragma once

#include <cmath>
#include <limits>

#include "moe/kernels/kernels.h"
#include "moe/kernels/math.h"

namespace moe::ref {

/// The row reduction of every norm, softmax sum and stray dot product: lane j of 16 takes elements
/// j, j + 16, ... ascending through step(lane value, i), then 8+8, 4+4, 2+2, 1+1.
template <class T, class Step>
T reduce_row(int64_t n, Step step) {
  T lane[16] = {};
  for (int64_t i = 0; i < n; ++i) lane[i % 16] = step(lane[i % 16], i);
  for (int half = 8; half > 0; half /= 2)
    for (int j = 0; j < half; ++j) lane[j] = lane[j] + lane[j + half];
  return lane[0];
}

/// max + 0, so that a tie of -0 and +0 does not depend on the order; NaN never wins.
template <class T>
T max_of_row(const T* x, int64_t n, T start) {
  T m = start;
  for (int64_t i = 0; i < n; ++i) m = x[i] > m ? x[i] : m;
  return m + T(0);
}

template <class T>
void install_linear(Kernels& k);
template <class T>
void install_norm(Kernels& k);
template <class T>
void install_rope(Kernels& k);
template <class T>
void install_attention(Kernels& k);
template <class T>
void install_activation(Kernels& k);
template <class T>
void install_softmax(Kernels& k);
template <class T>
void install_elementwise(Kernels& k);
template <class T>
void install_rows(Kernels& k);
template <class T>
void install_optimizer(Kernels& k);

}  // namespace moe::ref
