// SPDX-License-Identifier: MIT
// Feed-forward networks: gated (y = W_down(f(W_gate x) * W_up x)), plain (y = W_down f(W_up x)) or
// linear (y = W_down x); for one network or one per expert.
#pragma once

#include "moe/kernels/kernels.h"
#include "moe/nn/linear.h"
#include "moe/nn/model_config.h"
#include "moe/ops/feed_forward.h"

namespace moe {

/// The pointwise function of a config's activation name ("swiglu" and "silu": SiLU ...).
Activation activation_kind(const std::string& name);

struct FeedForward {
  int64_t d_ff = 0;
  bool gated = true, linear = false;
  Activation kind = Activation::silu;
  Linear up;  // gate_proj and up_proj in alternating panels, or up_proj alone, or none
  Linear down;

  FeedForward() = default;
  /// experts = 0: one network.
  FeedForward(const FeedForwardShape& shape, int64_t d_model, DType dtype, int64_t experts = 0);
  Var operator()(const Var& x_TD, const ForwardContext& ctx) const;
  /// Row r of the experts is row token_R[r] of x_TD, or row r when token_R is null.
  Var operator()(const Var& x_TD, const Tensor& offsets_E1, const Tensor& token_R,
                 const ForwardContext& ctx) const;
  /// [T, D]: each token's rows times their weights, summed; only where sums_rows(ctx).
  Var weighted_sum(const Var& x_TD, const Tensor& offsets_E1, const Tensor& token_R,
                   const Var& weight_R1, const ForwardContext& ctx) const;
  bool sums_rows(const ForwardContext& ctx) const {
    return !linear && !down.bias && !is_adapted(ctx);
  }
  bool is_adapted(const ForwardContext& ctx) const {
    return down.is_adapted(ctx) || (!linear && up.is_adapted(ctx));
  }
  /// h of the up projections' output.
  Var activated(const Var& up_RF) const;
  void visit(const Visitor& v) const;

 private:
  ops::FeedForwardWeights weights(const ForwardContext& ctx) const;
};

}  // namespace moe
