// SPDX-License-Identifier: MIT
// UTF-8 as far as drawing needs it: walk code points without trusting the text, count the columns
// it takes, cut it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace moe {

struct CodePoint {
  char32_t value;
  size_t n_bytes;  // 1 to 4
  bool valid;  // false: the byte starts no well-formed sequence; value is then U+FFFD and n_bytes 1
};

/// The code point that starts at offset (< text.size()). Overlong forms and surrogates are not well
/// formed.
CodePoint code_point_at(std::string_view text, size_t offset);

/// Columns of a terminal or a monospaced font: 0 for control characters and combining marks, 2 for
/// East Asian wide characters and emoji, else 1. A broken byte counts 1.
int display_width(std::string_view text);

/// The text itself if it takes at most max_columns (>= 1), else its start and the mark (one column
/// wide), together at most max_columns.
std::string shorten(std::string_view text, int max_columns, std::string_view mark = "…");

}  // namespace moe
