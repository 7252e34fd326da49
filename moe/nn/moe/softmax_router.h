// SPDX-License-Identifier: MIT
// Base of routers whose scores are the softmax of one linear map, with the balance loss that the
// configuration names and the z-loss.
#pragma once

#include "moe/nn/model_config.h"
#include "moe/nn/moe/assignment_router.h"
#include "moe/nn/moe/aux_loss.h"

namespace moe {

class SoftmaxRouter : public GatedRouter {
 protected:
  SoftmaxRouter(const MoeConfig& config, int64_t d_model, int64_t k, DType dtype);
  Scores score_logits(const Var& logits_TE) const override;
  Var aux_loss(const Scores& scores, const Chosen& chosen,
               const ForwardContext& ctx) const override;

  double aux_loss_weight_, z_loss_weight_;

 private:
  AuxLoss loss_;
};

}  // namespace moe
