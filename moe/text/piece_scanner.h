// SPDX-License-Identifier: MIT
// The regular expressions that published byte-level tokenizers cut text with, as linear scanners
// written by hand: a backtracking engine needs a stack or a step limit for a run of a megabyte of
// one character, and is several times slower on ordinary text. Each is known by name and by the
// spellings in which tokenizer.json files hold it.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace moe {

/// Where the piece that begins at text[begin] ends: > begin, <= text.size(). Every piece is
/// contiguous with the next, so that pieces cover the text. The end of the text acts as the end of
/// a document for look-ahead.
using PieceScanner = size_t (*)(std::string_view text, size_t begin);

struct SplitPattern {
  std::string_view name;   // "gpt2"
  std::string_view regex;  // as it is written to tokenizer.json
  PieceScanner scan;
  bool total;  // matches everything: nothing lies between two matches
};
/// All of them; gpt2 first.
std::span<const SplitPattern> split_patterns();
/// By name; throws Error (usage) with the nearest name.
const SplitPattern& find_split_pattern(std::string_view name);
/// The regular expression of a name, or the expression itself. What reads like a name and is none
/// (small letters, digits, '-', '.', '_') throws as find_split_pattern(): it would match next to
/// nothing.
std::string split_regex(const std::string& name_or_regex);
/// By any known spelling of the regular expression; null for another one.
const SplitPattern* known_split_pattern(std::string_view regex);

}  // namespace moe
