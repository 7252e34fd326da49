// SPDX-License-Identifier: MIT
// Causal self-attention: MHA, MQA, GQA (arXiv:2305.13245); q, k and v in one fused projection;
// optional QK norm, RoPE, ALiBi, T5 bias, Shaw relative positions, sliding window, sink, soft-cap.
#pragma once

#include "moe/nn/forward_context.h"
#include "moe/nn/linear.h"
#include "moe/nn/norm.h"
#include "moe/nn/positions.h"

namespace moe {

/// What the attention layers of a model share.
struct SharedPositions {
  RopeTable rope;
  Tensor alibi_slopes_H;
  Var t5_table_UH;  // [buckets, H], one table for all layers (T5)
  Tensor t5_bucket_of_distance;
};

struct Attention {
  int64_t H = 1, G = 1, A = 1, window = 0;
  double scale = 1, softcap = 0, norm_eps = 1e-6;
  bool rotary = false, norm_per_row = false;
  Linear qkv_proj, o_proj;
  Var q_norm, k_norm;  // [A], or [H A] and [G A] per row; null without QK norm
  Var sink_H;          // [H]
  Var t5_table_UH;     // this layer's use of the shared table
  Var shaw_k_CA, shaw_v_CA;
  RopeTable rope;
  Tensor alibi_slopes_H;
  Tensor t5_bucket_of_distance;

  Attention() = default;
  Attention(const ModelConfig& config, const LayerConfig& layer, const SharedPositions& shared,
            DType dtype);
  Var operator()(const Var& x_TD, const ForwardContext& ctx) const;
  void visit(const Visitor& v) const;
};

}  // namespace moe
