// SPDX-License-Identifier: MIT
// Fill-in-the-middle (Bavarian et al. 2022, arXiv:2207.14255): a text cut in three is written as
// prefix, suffix, middle between markers of the tokenizer, so that a model learns to write what
// stands between two parts.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "moe/text/tokenizer.h"

namespace moe {

struct FimMarkers {
  TokenId prefix, suffix, middle;
};
/// Of StarCoder (<fim_prefix>), Qwen and others (<|fim_prefix|>), DeepSeek (<｜fim▁begin｜>) or
/// CodeLlama (<PRE>); nothing when the tokenizer has none of them.
std::optional<FimMarkers> find_fim_markers(const Tokenizer& tokenizer);

/// What a model reads before it writes the middle: prefix and suffix, in the order of the family.
std::vector<TokenId> fim_prompt(const FimMarkers& markers, const std::vector<TokenId>& prefix,
                                const std::vector<TokenId>& suffix);

/// A document cut in three at two places that the draws choose, in that form.
std::vector<TokenId> fim_sample(const FimMarkers& markers, const Tokenizer& tokenizer,
                                std::string_view text, uint64_t first_draw, uint64_t second_draw);

}  // namespace moe
