// SPDX-License-Identifier: MIT
// A small corpus in two languages: the same things said in English and in Chinese. What is said is
// drawn once and written in both, so that nothing but the language tells the two apart.
#pragma once

#include <cstdint>
#include <string>

#include "moe/data/demo_corpus.h"

namespace moe {

struct BilingualText {
  std::string english, chinese;  // a paragraph of two to four sentences, without a line's end
};

/// Always the same for a seed, split and index.
BilingualText demo_bilingual(Split split, int64_t index, uint64_t seed);

}  // namespace moe
