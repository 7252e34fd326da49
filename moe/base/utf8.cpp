// SPDX-License-Identifier: MIT
#include "moe/base/utf8.h"

#include <cassert>

namespace moe {

Utf8Unit next_utf8(std::string_view text) {
  assert(!text.empty());
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {Utf8State::complete, 1, lead};
  // The second byte's range is narrower than 80..BF where that excludes overlong forms, surrogates
  // and values above U+10FFFF (Unicode 15, table 3-7).
  size_t size = 0;
  uint8_t low = 0x80, high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    size = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    size = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    size = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {Utf8State::invalid, 1, 0};
  }
  char32_t code_point = lead & (0x7Fu >> size);
  for (size_t i = 1; i < size; ++i) {
    if (i == text.size()) return {Utf8State::incomplete, i, 0};
    if (byte(i) < low || byte(i) > high) return {Utf8State::invalid, i, 0};
    code_point = (code_point << 6) | (byte(i) & 0x3Fu);
    low = 0x80;
    high = 0xBF;
  }
  return {Utf8State::complete, size, code_point};
}

CodePoint code_point_at(std::string_view text, size_t position) {
  const auto first = static_cast<uint8_t>(text[position]);
  if (first < 0x80) return {first, 1};
  const Utf8Unit unit = next_utf8(text.substr(position, 4));
  if (unit.state != Utf8State::complete) return {kInvalidByte, 1};
  return {unit.code_point, static_cast<uint32_t>(unit.size)};
}

CodePoint code_point_before(std::string_view text, size_t position) {
  for (size_t back = 1; back <= 4 && back <= position; ++back) {
    if ((static_cast<uint8_t>(text[position - back]) & 0xC0) == 0x80) continue;
    const CodePoint c = code_point_at(text, position - back);
    if (c.size == back) return c;
    break;
  }
  return {kInvalidByte, 1};
}

int64_t count_code_points(std::string_view text) {
  int64_t n = 0;
  for (size_t i = 0; i < text.size(); ++n) i += code_point_at(text, i).size;
  return n;
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t bits) { out.push_back(static_cast<char>(bits)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | (c >> 6));
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

}  // namespace moe
