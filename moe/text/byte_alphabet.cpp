// SPDX-License-Identifier: MIT
#include "moe/text/byte_alphabet.h"

#include "moe/base/utf8.h"
#include "moe/text/unicode.h"

namespace moe {
namespace {

constexpr bool is_printable(uint32_t b) {
  return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
}

}  // namespace

const std::array<char32_t, 256>& byte_alphabet() {
  static const std::array<char32_t, 256> alphabet = [] {
    std::array<char32_t, 256> out{};
    char32_t next = 0x100;
    for (uint32_t b = 0; b < 256; ++b) out[b] = is_printable(b) ? b : next++;
    return out;
  }();
  return alphabet;
}

const std::array<uint8_t, 256>& bytes_by_spelling() {
  static const std::array<uint8_t, 256> order = [] {
    std::array<uint8_t, 256> out{};
    size_t n = 0;
    for (const bool printable : {true, false})
      for (uint32_t b = 0; b < 256; ++b)
        if (is_printable(b) == printable) out[n++] = static_cast<uint8_t>(b);
    return out;
  }();
  return order;
}

std::string spell_bytes(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char b : bytes) append_utf8(out, byte_alphabet()[static_cast<uint8_t>(b)]);
  return out;
}

std::optional<std::string> bytes_of_spelling(std::string_view spelling) {
  static const std::array<int16_t, 0x144> byte_of = [] {
    std::array<int16_t, 0x144> out;
    out.fill(-1);
    for (int16_t b = 0; b < 256; ++b) out[byte_alphabet()[static_cast<size_t>(b)]] = b;
    return out;
  }();
  std::string out;
  out.reserve(spelling.size());
  for (size_t i = 0; i < spelling.size();) {
    const CodePoint c = code_point_at(spelling, i);
    if (c.value >= byte_of.size() || byte_of[c.value] < 0) return std::nullopt;
    out += static_cast<char>(byte_of[c.value]);
    i += c.size;
  }
  return out;
}

}  // namespace moe
