// SPDX-License-Identifier: MIT
// The columns that a text takes, and cutting it to a number of them.
#pragma once

#include <string>
#include <string_view>

namespace moe {

/// Columns of a terminal or a monospaced font: 0 for control characters and combining marks, 2 for
/// East Asian wide characters and emoji, else 1. A broken byte counts 1.
int display_width(std::string_view text);

/// The text itself if it takes at most max_columns (>= 1), else its start and the mark (one column
/// wide), together at most max_columns.
std::string shorten(std::string_view text, int max_columns, std::string_view mark = "…");

}  // namespace moe
