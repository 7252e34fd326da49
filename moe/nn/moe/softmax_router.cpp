// SPDX-License-Identifier: MIT
#include "moe/nn/moe/softmax_router.h"

#include "moe/nn/moe/balance_losses.h"
#include "moe/ops/elementwise.h"
#include "moe/ops/softmax.h"

namespace moe {

SoftmaxRouter::SoftmaxRouter(const MoeConfig& c, int64_t d_model, int64_t k, DType dtype,
                             int64_t n_identity)
    : GatedRouter(c, "gate", d_model, k, dtype, n_identity),
      aux_loss_weight_(c.aux_loss_weight),
      z_loss_weight_(c.z_loss_weight) {}

AssignmentRouter::Scores SoftmaxRouter::score_logits(const Var& logits_TE) const {
  return {logits_TE, ops::softmax(logits_TE)};
}

Var SoftmaxRouter::aux_loss(const Scores& s, const Chosen& chosen,
                            const ForwardContext& ctx) const {
  const Var balance = balance_part(switch_loss(s.probs_TE, chosen.stats.counts_E, ctx),
                                   aux_loss_weight_, chosen.stats);
  return ops::add(balance, z_part(s.logits_TE, z_loss_weight_, chosen.stats, ctx));
}

}  // namespace moe
