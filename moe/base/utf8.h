// SPDX-License-Identifier: MIT
// UTF-8 (RFC 3629): one code point at a time. Overlong forms, surrogates and values above U+10FFFF
// are ill-formed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace moe {

enum class Utf8State { complete, incomplete, invalid };

/// What the bytes at the start of a text are. complete: `size` bytes encode `code_point`.
/// incomplete: the text ends inside a sequence that more bytes could complete. invalid: the first
/// `size` bytes (at least 1) can begin no well-formed sequence: the "maximal subpart" that one
/// U+FFFD stands for (Unicode 15, section 3.9).
struct Utf8Unit {
  Utf8State state;
  size_t size;
  char32_t code_point;
};

/// text must not be empty.
Utf8Unit next_utf8(std::string_view text);

/// What stands for a byte that is not UTF-8.
inline constexpr char32_t kInvalidByte = 0x110000;

struct CodePoint {
  char32_t value;  // kInvalidByte: text[position] is not part of well-formed UTF-8
  uint32_t size;   // bytes, at least 1
};
/// The code point that begins at text[position]; position < text.size().
CodePoint code_point_at(std::string_view text, size_t position);
/// The code point that ends before text[position]; position > 0.
CodePoint code_point_before(std::string_view text, size_t position);
/// Code points of a text; a byte that is not UTF-8 counts as one.
int64_t count_code_points(std::string_view text);
void append_utf8(std::string& out, char32_t code_point);

}  // namespace moe
