// SPDX-License-Identifier: MIT
#include "moe/nn/moe/softmax_router.h"

#include "moe/ops/softmax.h"

namespace moe {

SoftmaxRouter::SoftmaxRouter(const MoeConfig& c, int64_t d_model, int64_t k, DType dtype)
    : GatedRouter(c, "gate", d_model, k, dtype),
      aux_loss_weight_(c.aux_loss_weight),
      z_loss_weight_(c.z_loss_weight),
      loss_(c) {}

AssignmentRouter::Scores SoftmaxRouter::score_logits(const Var& logits_TE) const {
  return {logits_TE, ops::softmax(logits_TE)};
}

Var SoftmaxRouter::aux_loss(const Scores& s, const Chosen& chosen,
                            const ForwardContext& ctx) const {
  return loss_({s.logits_TE, s.probs_TE, chosen.picks, chosen.weight_A1, chosen.stats}, ctx);
}

}  // namespace moe
