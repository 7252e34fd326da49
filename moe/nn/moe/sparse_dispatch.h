// SPDX-License-Identifier: MIT
// Dispatch for any router that names (token, expert, weight) triples: rows are gathered in
// ascending (expert, token) order, outputs come back as one weighted sum per token, experts
// ascending.
#pragma once

#include "moe/nn/moe/router.h"

namespace moe {

/// Outputs behind the experts, in this order; those behind them add nothing.
struct LightExperts {
  int64_t n_constant = 0, n_identity = 0;
  std::function<Var(const Var& x_RD, int64_t j)> constant = {};  // rows of constant expert j
};

class SparseDispatch final : public Dispatch {
 public:
  /// picks: ascending expert, then token; weight_A1: [A, 1], in the same order.
  SparseDispatch(const Picks& picks, Var weight_A1, int64_t n_experts, LightExperts light = {});
  ExpertRows dispatch(const Var& x_TD) const override;
  Var combine(const Var& y_RD, const Var& x_TD) const override;

 private:
  Picks picks_;
  Var weight_A1_;
  int64_t n_experts_;
  LightExperts light_;
  int64_t first(int64_t expert) const;  // index of the first pick of `expert` or a later one
};

}  // namespace moe
