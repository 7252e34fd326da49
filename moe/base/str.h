// SPDX-License-Identifier: MIT
// Small text functions: joining values into a message, making foreign text safe to print, nearest
// valid word.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moe {

/// A part of a message: text, a character, a truth value or a number, which str() turns into text.
/// Not a template over the parts, so that the code that formats is compiled once and not in every
/// file that reports an error.
class TextPart {
 public:
  TextPart(std::string_view text) : kind_(Kind::text), text_(text) {}
  TextPart(const std::string& text) : TextPart(std::string_view(text)) {}
  TextPart(const char* text) : TextPart(std::string_view(text)) {}
  TextPart(char c) : kind_(Kind::character), character_(c) {}
  TextPart(bool b) : kind_(Kind::truth), truth_(b) {}
  TextPart(std::signed_integral auto n) : kind_(Kind::signed_number), signed_(n) {}
  TextPart(std::unsigned_integral auto n) : kind_(Kind::unsigned_number), unsigned_(n) {}
  TextPart(float x) : kind_(Kind::float_number), float_(x) {}
  TextPart(double x) : kind_(Kind::double_number), double_(x) {}
  void append_to(std::string& out) const;

 private:
  enum class Kind {
    text,
    character,
    truth,
    signed_number,
    unsigned_number,
    float_number,
    double_number
  } kind_;
  union {
    std::string_view text_;
    char character_;
    bool truth_;
    int64_t signed_;
    uint64_t unsigned_;
    float float_;
    double double_;
  };
};

std::string concatenate(std::initializer_list<TextPart> parts);

/// The parts one after another, numbers in their shortest exact form: str("[npy] ", path, ": ", n,
/// " bytes").
template <class... Parts>
std::string str(const Parts&... parts) {
  return concatenate({TextPart(parts)...});
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
