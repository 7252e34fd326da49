// SPDX-License-Identifier: MIT
// Expert capacity: at most C tokens an expert in each routing group (one sequence, or the whole
// micro-batch), claimed in one of four orders; what finds no room is dropped, or goes on to the
// next best expert with room.
#pragma once

#include <functional>

#include "moe/nn/forward_context.h"
#include "moe/nn/model_config.h"
#include "moe/nn/moe/router.h"

namespace moe {

/// C for a group of `tokens` tokens, a configured number and never the present one, and for a
/// factor: model.moe.capacity_formula, rounded as capacity_rounding says, at least capacity_min, in
/// [1, tokens].
int64_t expert_capacity(const MoeConfig& config, double factor, int64_t tokens);

class Capacity {
 public:
  explicit Capacity(const MoeConfig& config);
  /// Whether a limit holds in training, or otherwise.
  bool limits(bool training) const;
  /// Whether no claim depends on a later token.
  bool is_causal(bool training) const;

  struct Outcome {
    Picks picks;             // those with room, and those without at their first expert; sorted
    std::vector<bool> kept;  // of each of them
  };
  /// picks: any order, choices numbered from the token's best. score(expert, token): what the
  /// router compares, for bpr and for the next best expert; weight_of: combine weight of picks[i].
  /// Outputs from n_experts on (identity, zero) have no limit.
  Outcome apply(const Picks& picks, const ForwardContext& ctx, int64_t n_experts,
                const std::function<double(int32_t expert, int32_t token)>& score,
                const std::function<double(size_t i)>& weight_of) const;

  /// capacity_target_drop above 0: the factor grows by 2 % when more was dropped, else it shrinks.
  void after_step(const RouterTotals& totals);
  void visit(const Visitor& v) const;

 private:
  bool is_steered() const;
  double factor() const;
  std::vector<size_t> claims(const Picks& picks, const ForwardContext& ctx,
                             const std::function<double(int32_t, int32_t)>& score,
                             const std::function<double(size_t)>& weight_of,
                             const std::string& order) const;

  MoeConfig config_;
  Tensor factor_1_;  // steered; float32 always
};

}  // namespace moe
