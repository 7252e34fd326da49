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

void append_utf8(std::string& out, char32_t code_point);

}  // namespace moe
