// SPDX-License-Identifier: MIT
// A pre-norm transformer block: x += Attention(Norm(x)); x += FFN(Norm(x)), the FFN dense or
// Mixture-of-Experts.
#pragma once

#include <memory>

#include "moe/nn/attention.h"
#include "moe/nn/moe/moe_lora.h"

namespace moe {

struct TransformerBlock {
  LayerConfig config;
  double dropout = 0;
  Norm input_norm, ffn_norm;
  Attention attention;
  FeedForward dense;  // with LoRA experts beside it while an adapter that has some is in use; or
  std::shared_ptr<MixtureRouters> mixtures = std::make_shared<MixtureRouters>();
  std::unique_ptr<MoeLayer> moe_layer;
  Var attention_scale_D, ffn_scale_D;  // LayerScale; null without

  TransformerBlock(const ModelConfig& model, const LayerConfig& layer,
                   const SharedPositions& shared, DType dtype);
  /// y_TD, and what the router returned; for a dense block without LoRA experts aux_loss is 0
  /// and router_logits is null.
  MoeOutput operator()(const Var& x_TD, const ForwardContext& ctx) const;
  void visit(const Visitor& v) const;

 private:
  MoeOutput whole(const Var& x_TD, const ForwardContext& ctx) const;
  /// Norm and FFN, without the residual addition.
  MoeOutput ffn_branch(const Var& h_TD, const ForwardContext& ctx) const;
  Var finish(Var branch_TD, const Var& scale_D, const char* purpose,
             const ForwardContext& ctx) const;
};

}  // namespace moe
