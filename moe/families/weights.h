// SPDX-License-Identifier: MIT
// Weights between a model's parameters and the tensors of a family's files.
#pragma once

#include <string>

#include "moe/families/family.h"
#include "moe/nn/transformer_lm.h"

namespace moe {

/// Before anything is allocated for the model: the files must hold enough numbers for a model of
/// this shape, and its panels may take at most 4x the files + 1 MiB (a hostile config.json could
/// name any size). Throws Error.
void check_weights_present(const std::string& folder, const ModelConfig& config,
                           const Family& family);

/// The same, and that the files hold no more than such a model has: what a reader of config.json
/// alone can know of whether it belongs to the weights. Nothing is allocated for the model.
void check_weights_match(const std::string& folder, const ModelConfig& config,
                         const Family& family);

/// Fills every parameter and buffer. Throws Error listing missing, misshapen and unexpected
/// tensors.
void read_weights(const TransformerLM& model, const std::string& folder, const Family& family);

}  // namespace moe
