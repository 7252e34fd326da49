// SPDX-License-Identifier: MIT
// One Mixture-of-Experts layer: router, experts, shared experts.
#pragma once

#include <memory>

#include "moe/nn/feed_forward.h"
#include "moe/nn/model_config.h"
#include "moe/nn/moe/router.h"

namespace moe {

/// Returned, never stashed. No Var is null.
struct MoeOutput {
  Var y_TD, aux_loss, router_logits_TE;
  RouterStats stats;
  Picks picks;
};

struct MoeLayer {
  std::unique_ptr<Router> router;
  std::unique_ptr<Exchange> exchange = std::make_unique<Exchange>();
  FeedForward experts;
  FeedForward shared;  // d_ff 0: none
  Linear shared_gate;  // [1, D]; weight null: ungated
  Var ones_D;          // weight of the norm on each expert's output; null: none

  MoeLayer(const ModelConfig& config, DType dtype);
  MoeOutput operator()(const Var& x_TD, const ForwardContext& ctx) const;
  void visit(const Visitor& v) const;
};

}  // namespace moe
