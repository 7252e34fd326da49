// SPDX-License-Identifier: MIT
// The models that benchmarks run: three named shapes, whose work is that of bench/peers, or a
// configuration file.
#pragma once

#include <string>
#include <vector>

#include "moe/train/run_config.h"

namespace moe {

/// "mixtral" (8 experts, top 2, d_ff 1024), "fine" (32 experts, top 4, and one shared, d_ff 256),
/// "nanogpt" (dense, GELU, LayerNorm, learned positions): 6 layers, width 384, 6 heads, 256 tokens,
/// 65 ids, tied; AdamW, clipping at 1, Switch loss 0.01, no z-loss. Or the path of a .yaml file,
/// whose own values win. Throws Error (usage) for anything else.
RunConfig shape_config(const std::string& shape, const std::vector<std::string>& overrides);

/// Floating-point operations of a training step per token: 6 x matrix parameters that a token uses
/// + 6 x layers x heads x head_dim x seq (the causal half; window smaller than seq counts as such).
/// No credit for recomputation, padding or capacity.
double train_flop_per_token(const ModelConfig& config, int64_t seq_len);

/// Matrix parameters that one token's forward pass reads: all but norms, biases and the rows of
/// embedding tables that it does not look up. A tied head counts once.
double active_matrix_parameters(const ModelConfig& config);

}  // namespace moe
