// SPDX-License-Identifier: MIT
// Weight-decomposed adapters (DoRA, Liu et al. 2024, arXiv:2402.09353): W' = m (W + s B A) / norm,
// row by row; m is learned, and the norm is a constant to the backward (section 4.3). Of an
// embedding columns take the place of rows, as in PEFT.
#pragma once

#include <mutex>

#include "moe/nn/lora.h"

namespace moe {

/// The two factors of a part's change s L R of one target, row-major: B and A, or of an embedding A
/// and B^T. expert < 0: a plain matrix.
struct LowRank {
  Tensor left_OR, right_RI;
  double scale = 1;

  /// row j of W + s L R, columns [begin, end), in float64; the sum over the rank comes first.
  void add_to_row(const Tensor& w_OI, int64_t row, int64_t begin, int64_t end, double* out) const;
};
LowRank low_rank(const LoraPart& part, size_t target, int64_t expert);

/// Norms of the rows of W + s B A (of an embedding: of its columns), of one target: [n].
Tensor dora_norms(const LoraPart& part, const Var& weight, const std::vector<int64_t>& sizes,
                  size_t target, int64_t expert);
/// Puts m on a new part: those norms, so that the model computes what it did.
void add_magnitudes(LoraPart& part, const Var& weight, const std::vector<int64_t>& sizes);

/// m / norm for each output column of the weight, [columns] or [E, columns]; 1 where there is no
/// adapter, and where the norm is 0. Of an embedding: for its columns.
Var dora_gain(const LoraPart& part, const Var& weight, const std::vector<int64_t>& sizes);

/// The norms of a part as dora_gain last needed them. They cost as much as W has numbers times the
/// rank: too much for each token that is generated. W itself never changes under an adapter.
class NormCache {
 public:
  /// [n_matrices, columns], 0 where there is no adapter.
  Tensor norms(const LoraPart& part, const Var& weight, const std::vector<int64_t>& sizes);

 private:
  std::mutex mutex_;
  Tensor a_, norms_;
  std::vector<Tensor> b_;
};

}  // namespace moe
