// SPDX-License-Identifier: MIT
// Everything that can be asked of a router without data: anybody may run it, on routers of their
// own too.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace moe {

struct SelftestResult {
  std::string router, check;
  bool passed = true, skipped = false;  // skipped: the question has no meaning for this router
  std::string message;                  // of a failure or a skip
};

/// known_answer, gradient, causality, tie_break, padding, empty_expert, capacity, determinism,
/// save_load, generation_parity: each for one router of the table, or "all". Throws Error (usage)
/// naming the nearest router.
std::vector<SelftestResult> router_selftest(const std::string& name,
                                            const std::function<void(double)>& progress = {});

}  // namespace moe
