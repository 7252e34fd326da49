// SPDX-License-Identifier: MIT
// Mixture of LoRA experts on a dense network (MixLoRA, Li et al. 2024, arXiv:2404.15159): a router
// sends each token to k of n experts, and expert e is the frozen network with low-rank changes of
// its own on gate, up and down. y = sum over the chosen of w_e FFN_e(x), sum w = 1.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "moe/nn/feed_forward.h"
#include "moe/nn/moe/moe_layer.h"

namespace moe {

struct MixtureRouter {
  int adapter = 0;  // its number in the model
  std::shared_ptr<Router> router;
};
using MixtureRouters = std::vector<MixtureRouter>;

/// Where a mixture can be put: the dense network of a block.
struct MixtureSite {
  std::string prefix;  // "model.layers.0.mlp."
  int64_t d_model = 0;
  DType dtype = DType::f32;
  std::shared_ptr<MixtureRouters> routers;
};

/// Top-k of softmax probabilities, divided by their sum, with Switch's balance loss. Throws Error
/// (usage) when k > n.
std::unique_ptr<Router> make_mixture_router(const MoeLoraConfig& config, int64_t d_model,
                                            DType dtype);
/// The router that is in use in this pass; null: none.
const Router* active_router(const std::shared_ptr<MixtureRouters>& routers,
                            const ForwardContext& ctx);

/// The network with the experts of ctx.adapter. Computed as FFN(x) + sum w_e (FFN_e(x) - FFN(x)):
/// bit for bit the dense network while all B are zero; products with W_gate and W_up are shared by
/// the experts.
MoeOutput moe_lora(const FeedForward& dense, const Router& router, const Var& x_TD,
                   const ForwardContext& ctx);

}  // namespace moe
