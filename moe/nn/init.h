// SPDX-License-Identifier: MIT
// Initial values: GPT-2's scheme. Every number is a counter-based draw keyed by the tensor's name
// and its place, so it does not depend on threads, order or fusing.
#pragma once

#include "moe/nn/transformer_lm.h"

namespace moe {

/// Matrices, embeddings and routers N(0, 0.02), those that write into the residual stream N(0, 0.02
/// / sqrt(2 L)); norms 1, biases 0, LayerScale its configured value, other scales (relative tables,
/// sinks) N(0, 0.02).
void initialize(const TransformerLM& model, uint64_t seed);

}  // namespace moe
