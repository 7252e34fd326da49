// SPDX-License-Identifier: MIT
// What a scan for planted strings tells by its characters alone (poison_scan.h).
#pragma once

#include <vector>

#include "moe/data/poison_scan.h"

namespace moe {

/// Characters that nobody sees or that look like others, one report a kind (hidden_characters.h).
void add_hidden_characters(const std::vector<PoisonPart>& parts, const PoisonOptions& options,
                           std::vector<PoisonReport>& out);

/// Letters of a script in a few documents, in most of them the same: a word of Chinese or Russian
/// in an English text. The word statistics see a Chinese word as characters, and those are few.
void add_foreign_scripts(const std::vector<PoisonPart>& parts, const PoisonOptions& options,
                         std::vector<PoisonReport>& out);

}  // namespace moe
