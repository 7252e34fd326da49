// SPDX-License-Identifier: MIT
// Base of routers whose scores are the softmax of one linear map, with the balance loss of Switch
// Transformers and the z-loss.
#pragma once

#include "moe/nn/model_config.h"
#include "moe/nn/moe/assignment_router.h"

namespace moe {

class SoftmaxRouter : public GatedRouter {
 protected:
  SoftmaxRouter(const MoeConfig& config, int64_t d_model, int64_t k, DType dtype,
                int64_t n_identity = 0);
  Scores score_logits(const Var& logits_TE) const override;
  /// aux_loss_weight * switch_loss + z_loss_weight * router_z_loss.
  Var aux_loss(const Scores& scores, const Chosen& chosen,
               const ForwardContext& ctx) const override;

  double aux_loss_weight_, z_loss_weight_;
};

}  // namespace moe
