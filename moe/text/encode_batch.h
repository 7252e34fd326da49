// SPDX-License-Identifier: MIT
// Encoding with all threads: many texts, or one long text where it can be cut without changing its
// ids.
#pragma once

#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "moe/text/tokenizer.h"

namespace moe {

/// The ids of each text, in order; the same for any number of threads.
std::vector<std::vector<TokenId>> encode_batch(const Tokenizer& tokenizer,
                                               std::span<const std::string_view> texts,
                                               SpecialTokens specials = SpecialTokens::as_text);

/// tokenizer.encode(text), by several threads where tokenizer.cuts_at_lines(). done: called from
/// time to time with the bytes that are encoded.
std::vector<TokenId> encode_text(const Tokenizer& tokenizer, std::string_view text,
                                 SpecialTokens specials = SpecialTokens::as_text,
                                 const std::function<void(uint64_t bytes)>& done = {});

/// The first place at or after `from` where a text may be cut for a tokenizer with cuts_at_lines():
/// behind a line end that follows a visible character and precedes a letter or a digit; the text's
/// size when there is none. A byte of text, ASCII or not, counts as a letter when it is above 0x7F
/// only if its code point is one.
size_t line_cut(std::string_view text, size_t from);

}  // namespace moe
