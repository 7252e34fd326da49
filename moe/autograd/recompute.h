// SPDX-License-Identifier: MIT
// Computing again in backward what forward did not keep (Chen et al. 2016, arXiv:1604.06174).
#pragma once

#include <functional>
#include <vector>

#include "moe/autograd/tape.h"

namespace moe {

/// What a model's backward computes again: nothing, the feed-forward halves of the blocks, or whole
/// blocks, of which only the input is kept.
enum class Recompute { none, ffn, block };

/// Wraps the outputs of a computation that ran without a tape. Backward runs `again`, recorded, and
/// at once goes back through it, so that one such computation at a time holds what backward needs.
/// again must give the same bits from the same Vars (not from copies of them: their gradients are
/// then added in the order that they would have been).
std::vector<Var> record_recomputed(const std::vector<Tensor>& outs,
                                   std::function<std::vector<Var>()> again);

}  // namespace moe
