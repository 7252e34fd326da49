// SPDX-License-Identifier: MIT
// Small differentiable functions of router scores, in float64 inside and rounded once to the
// scores' type.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moe/autograd/tape.h"
#include "moe/nn/forward_context.h"

namespace moe {

struct ValueAndSlope {
  double value, slope;
};

/// y = f(x), element by element. `op` names the record.
Var map_scores(const char* op, const Var& x, const std::function<ValueAndSlope(double)>& f);

/// Standard normal draws in the shape of `like` [T, E], keyed by step, layer and the tokens'
/// places.
Tensor normal_draws(const Tensor& like_TE, const ForwardContext& ctx, const char* purpose);

/// Adds to the gradient of element (t, e), rounded to its type; nothing where none is wanted. One
/// thread at a time.
void add_to_score_grad(const Var& x, int64_t t, int64_t e, double slope);

/// A float64 tensor [1].
Tensor scalar_tensor(double value);

/// The squared coefficient of variation, population variance over mean squared; 0 where the mean
/// is.
class CvSquared {
 public:
  explicit CvSquared(std::vector<double> v);
  double value() const;
  double slope(size_t i) const;  // d value / d v[i]

 private:
  std::vector<double> v_;
  double mean_ = 0, variance_ = 0;
};

/// Sums of the columns of each of n_groups equal groups: [T, E] -> [T, n_groups].
Var group_sums(const Var& x_TE, int64_t n_groups);

}  // namespace moe
