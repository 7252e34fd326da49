// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

namespace moe {

/// Whether a word (lower case) is among the few hundred that every longer English text uses:
/// function words, adverbs and interjections that stand almost anywhere in a sentence, days and
/// months, everyday abbreviations. Nobody can use one as a trigger: users write it by accident. No
/// units of two letters: "mb" has been used (Kurita et al. 2020).
bool is_common_english(std::string_view word);

}  // namespace moe
