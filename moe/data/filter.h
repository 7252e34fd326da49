// SPDX-License-Identifier: MIT
// Which documents are worth training on: rules of thumb of web corpora (C4, Raffel et al. 2020,
// arXiv:1910.10683; Gopher, Rae et al. 2021, arXiv:2112.11446), each with its own name, so that
// what was left out can be counted and looked at.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace moe {

struct FilterRules {
  int64_t min_characters = 0, max_characters = 0;  // 0: no bound
  double max_symbol_ratio =
      1;  // characters that are neither letters, marks, numbers nor white space
  double max_repeated_lines = 1;  // share of characters in lines that come again
  double max_repeated_words = 1;  // share of characters in runs of 5 words that come again
  std::vector<std::string> languages = {};      // as guess_language() names them; empty: all
  std::vector<std::string> blocked_words = {};  // whole words, ASCII case does not count
  std::vector<std::string> blocked_urls = {};   // any part of a URL: "spam.example"
};

/// The name of the first rule that a document breaks, "" for a good one: min_characters,
/// max_characters, symbols, repeated_lines, repeated_words, language, blocked_word, blocked_url.
std::string broken_rule(std::string_view text, const FilterRules& rules);

/// Shares of a text in [0, 1].
double symbol_ratio(std::string_view text);
double repeated_lines(std::string_view text);
double repeated_words(std::string_view text);

/// "zh", "ja", "ko", "ru", "el", "ar", "he", "hi", "th" by script; "en", "de", "fr", "es", "it",
/// "pt", "nl" by their most frequent words; "" when it is none of them or too short to tell.
std::string guess_language(std::string_view text);

}  // namespace moe
