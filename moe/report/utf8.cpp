// SPDX-License-Identifier: MIT
// Well-formed sequences as in table 3-7 of the Unicode standard; widths after UAX #11 and the
// general categories, by the blocks that occur in labels rather than by the whole database.
#include "moe/report/utf8.h"

#include <array>

namespace moe {
namespace {

struct Range {
  char32_t first, last;
};

constexpr std::array<Range, 9> kZeroWidth{{{0x0300, 0x036f},
                                           {0x1ab0, 0x1aff},
                                           {0x1dc0, 0x1dff},
                                           {0x200b, 0x200f},
                                           {0x202a, 0x202e},
                                           {0x2060, 0x2069},
                                           {0x20d0, 0x20ff},
                                           {0xfe00, 0xfe0f},
                                           {0xfeff, 0xfeff}}};
constexpr std::array<Range, 12> kDoubleWidth{{{0x1100, 0x115f},
                                              {0x2e80, 0x303e},
                                              {0x3041, 0x4dbf},
                                              {0x4e00, 0xa4cf},
                                              {0xac00, 0xd7a3},
                                              {0xf900, 0xfaff},
                                              {0xfe30, 0xfe6f},
                                              {0xff00, 0xff60},
                                              {0xffe0, 0xffe6},
                                              {0x1f300, 0x1f64f},
                                              {0x1f900, 0x1f9ff},
                                              {0x20000, 0x3fffd}}};

template <size_t N>
bool in_any(const std::array<Range, N>& ranges, char32_t value) {
  for (const Range& range : ranges)
    if (value >= range.first && value <= range.last) return true;
  return false;
}

int columns(char32_t value) {
  if (value < 0x20 || (value >= 0x7f && value < 0xa0)) return 0;
  if (in_any(kZeroWidth, value)) return 0;
  return in_any(kDoubleWidth, value) ? 2 : 1;
}

}  // namespace

CodePoint code_point_at(std::string_view text, size_t offset) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[offset + i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  const size_t n_bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  // C0, C1 and F5 to FF never start a sequence; 80 to BF only continue one.
  const CodePoint broken{0xfffd, 1, false};
  if (lead < 0xc2 || lead > 0xf4 || n_bytes > text.size() - offset) return broken;
  char32_t value = lead & (0x7fu >> n_bytes);
  for (size_t i = 1; i < n_bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return broken;
    value = (value << 6) | (byte(i) & 0x3fu);
  }
  constexpr std::array<char32_t, 5> kSmallest{0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  if (value < kSmallest[n_bytes] || value > 0x10ffff || surrogate) return broken;
  return {value, n_bytes, true};
}

int display_width(std::string_view text) {
  int width = 0;
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = code_point_at(text, i);
    width += columns(point.value);
    i += point.n_bytes;
  }
  return width;
}

std::string shorten(std::string_view text, int max_columns, std::string_view mark) {
  int width = 0;
  size_t keep = 0;  // bytes that leave one column for the mark
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = code_point_at(text, i);
    width += columns(point.value);
    i += point.n_bytes;
    if (width < max_columns) keep = i;
    if (width > max_columns) return std::string(text.substr(0, keep)) + std::string(mark);
  }
  return std::string(text);
}

}  // namespace moe
