// SPDX-License-Identifier: MIT
// An adapter's parameters as its reader sees them: one target for each matrix that it changes, and
// one for each router of a mixture.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "moe/nn/module.h"

namespace moe {

class TransformerLM;

struct AdapterTarget {
  std::string name;  // "model.layers.0.mlp.experts.3.up_proj"
  int64_t rank = 0;  // 0: a router
  int64_t parameters = 0;
  std::vector<std::pair<Parameter, Piece>> pieces = {};
};

/// In forward order.
std::vector<AdapterTarget> adapter_targets(const TransformerLM& model, int adapter);

}  // namespace moe
