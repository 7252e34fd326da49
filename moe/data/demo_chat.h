// SPDX-License-Identifier: MIT
// Conversations made of the demo corpus's tasks: the user gives a prompt, the assistant answers it,
// one to several times. What is held out of the corpus's training split is held out here too.
#pragma once

#include <vector>

#include "moe/data/demo_corpus.h"
#include "moe/data/records.h"

namespace moe {

/// n conversations of min_turns to max_turns questions about the given subjects, always the same
/// for a seed. Of one question, `subject` is its subject; of several, "turns".
std::vector<Record> demo_conversations(Split split, const std::vector<int>& subjects, int64_t n,
                                       int64_t min_turns, int64_t max_turns, uint64_t seed);

}  // namespace moe
