// SPDX-License-Identifier: MIT
// Causal attention over packed sequences, from fused rows [q | k | v]. Nothing of size [S, S] is
// ever stored.
#pragma once

#include "moe/autograd/tape.h"
#include "moe/kernels/kernels.h"
#include "moe/ops/precision.h"

namespace moe::ops {

/// One packed sequence: rows [row, row + n) at positions [position, position + n). With a cache,
/// its blocks.
struct AttentionSpan {
  int64_t row = 0, n = 0, position = 0;
  KvBlocks kv;  // null: keys and values are those of this call, and position must be 0
};

struct AttentionArgs {
  std::vector<AttentionSpan> spans;
  int64_t H = 1, G = 1, A = 1, Av = 1;
  double scale = 1;
  int64_t window = 0;
  double softcap = 0;
  Var sink_H, t5_table_UH, shaw_k_CA, shaw_v_CA;  // learned; may be null
  Tensor alibi_slopes_H;                          // [1, H]; may be null
  Tensor t5_bucket_of_distance;                   // i32; may be null without a T5 table
  Precision precision = {};                       // of q, k, v and the result
};

/// qkv: [T, H A + G A + G Av]. Returns [T, H Av]. When the spans carry a cache, the new keys and
/// values are stored there first and no gradient is possible.
Var attention(const Var& qkv, AttentionArgs args);

}  // namespace moe::ops
