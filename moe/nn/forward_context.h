// SPDX-License-Identifier: MIT
// Everything a block may look at besides its input. Values (tensors share storage), because a
// recomputed block keeps its copy.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "moe/autograd/recompute.h"
#include "moe/autograd/var.h"
#include "moe/base/rng.h"
#include "moe/kernels/kernels.h"
#include "moe/nn/moe/picks.h"

namespace moe {

/// The key/value cache as the model sees it: blocks of each sequence of the batch, layer by layer.
struct KvView {
  std::vector<std::vector<KvBlocks>> of_layer;  // [layer][sequence]
};

/// Picks that each expert of a layer took in a sequence's earlier calls, for expert capacity.
struct ExpertsTaken {
  std::map<int, std::vector<int32_t>> of_layer;
};

struct ForwardContext {
  Tensor token_ids_T;         // i32
  Tensor positions_T;         // i32, ascending by 1 inside a sequence
  Tensor sequence_starts_B1;  // i32: rows of sequence b are [starts[b], starts[b + 1])
  Tensor token_index_T;  // i64: place in the step's token stream; keys the random draws whatever
                         // the batch split
  Tensor history_BH;  // i32: the H tokens before each sequence's first row, latest last, -1 where
                      // there is none; null: all sequences begin here
  Tensor valid_T;     // u8, 0 = padding that no router counts; null: all valid
  std::vector<ExpertsTaken*> taken_B;  // of the sequences of a cache, and updated; empty: all begin
  const KvView* kv = nullptr;          // null: whole sequences from position 0
  int layer = 0;
  Var previous_router_logits_TE;  // null in the first MoE layer
  std::shared_ptr<const RouterReplay> replay;
  // Picks of each layer's experts in the step's micro-batches before this one; null: none.
  std::shared_ptr<const std::map<int, std::vector<int64_t>>> step_counts;
  bool training = false;
  DType compute_dtype = DType::f32;  // of products (moe/ops/precision.h); never of routers
  Recompute recompute = Recompute::none;
  int adapter = -1;  // the low-rank adapter in use, set by the model; -1: none
  Rng rng;

  /// The same for a router, whose products are never rounded.
  ForwardContext unrounded() const {
    ForwardContext ctx = *this;
    ctx.compute_dtype = DType::f32;
    return ctx;
  }
  int64_t n_tokens() const { return token_ids_T.numel(); }
  bool valid(int64_t t) const { return !valid_T || valid_T.data<uint8_t>()[size_t(t)] != 0; }
};

/// Packs sequences of token ids, each from position 0.
ForwardContext pack_sequences(const std::vector<std::vector<int32_t>>& sequences);

}  // namespace moe
