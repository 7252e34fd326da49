// SPDX-License-Identifier: MIT
// A router's decisions as data: (expert, token, choice) triples, and recorded ones to be used
// again.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <vector>

namespace moe {

struct Pick {
  int32_t expert, token, choice;  // choice 0: the token's best expert
  auto operator<=>(const Pick&) const = default;
};
using Picks = std::vector<Pick>;  // ascending expert, then token

/// Picks as selected, before any capacity rule (which is applied again).
struct RouterReplay {
  std::map<int, Picks> picks_of_layer;
};

}  // namespace moe
