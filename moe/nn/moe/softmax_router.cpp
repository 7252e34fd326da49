// SPDX-License-Identifier: MIT
#include "moe/nn/moe/softmax_router.h"

#include "moe/nn/moe/balance_losses.h"
#include "moe/ops/elementwise.h"
#include "moe/ops/softmax.h"

namespace moe {

SoftmaxRouter::SoftmaxRouter(const MoeConfig& c, int64_t d_model, int64_t k, DType dtype,
                             int64_t n_identity)
    : GatedRouter("gate", d_model, c.n_experts, k, dtype, n_identity),
      aux_loss_weight_(c.aux_loss_weight),
      z_loss_weight_(c.z_loss_weight) {}

AssignmentRouter::Scores SoftmaxRouter::score(const Var& x_TD, const ForwardContext&) const {
  const Var logits_TE = gate_(x_TD);
  return {logits_TE, ops::softmax(logits_TE)};
}

Var SoftmaxRouter::aux_loss(const Scores& s, RouterStats& stats, const ForwardContext& ctx) const {
  const Var balance =
      balance_part(switch_loss(s.probs_TE, stats.counts_E, ctx), aux_loss_weight_, stats);
  return ops::add(balance, z_part(s.logits_TE, z_loss_weight_, stats, ctx));
}

}  // namespace moe
