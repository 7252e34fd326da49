// SPDX-License-Identifier: MIT
// Flags that tutorials use, as the configuration keys they stand for. Hidden from --help.
#pragma once

#include <string>
#include <vector>

namespace moe {

/// The arguments of `train`, `compare` and `sweep` with every alias (--num_experts 4,8 or
/// --num_experts=4,8) replaced by its keys; others as they are. Throws Error (usage) for an alias
/// without its value.
std::vector<std::string> expand_aliases(const std::vector<std::string>& arguments);

}  // namespace moe
