// SPDX-License-Identifier: MIT
// Small text functions: joining values into a message, making foreign text safe to print, nearest
// valid word.
#pragma once

#include <fmt/format.h>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moe {

/// The parts one after another, numbers in their shortest exact form: str("[npy] ", path, ": ", n,
/// " bytes").
template <class... Parts>
std::string str(const Parts&... parts) {
  std::string out;
  (fmt::format_to(std::back_inserter(out), "{}", parts), ...);
  return out;
}

/// Foreign text for a one-line message: control characters and broken UTF-8 escaped as \xNN, cut at
/// max_chars with "...".
std::string printable(std::string_view text, size_t max_chars = 200);

/// The candidate with the smallest edit distance (insert, delete, replace, swap neighbours) if it
/// is close enough to be a plausible typing error (at most a third of the longer word, at least 1),
/// else "".
std::string nearest_word(std::string_view word, std::span<const std::string> candidates);

std::vector<std::string> split(std::string_view text, char separator);
std::string join(std::span<const std::string> parts, std::string_view separator);
bool starts_with(std::string_view text, std::string_view prefix);
bool ends_with(std::string_view text, std::string_view suffix);
std::string trim(std::string_view text);

/// "1,234,567"; "1.2 GiB"; "3 min 20 s".
std::string with_commas(int64_t n);
std::string human_bytes(uint64_t bytes);
std::string human_seconds(double seconds);

/// Byte offset of the first byte that is not well-formed UTF-8 (overlong forms and surrogates count
/// as errors), or npos.
size_t first_invalid_utf8(std::string_view text);

}  // namespace moe
