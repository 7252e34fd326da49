// SPDX-License-Identifier: MIT
// Widths after UAX #11 and the
// general categories, by the blocks that occur in labels rather than by the whole database.
#include "moe/report/display_width.h"

#include <array>

#include "moe/base/utf8.h"

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

int display_width(std::string_view text) {
  int width = 0;
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = code_point_at(text, i);
    width += columns(point.value);
    i += point.size;
  }
  return width;
}

std::string shorten(std::string_view text, int max_columns, std::string_view mark) {
  int width = 0;
  size_t keep = 0;  // bytes that leave one column for the mark
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = code_point_at(text, i);
    width += columns(point.value);
    i += point.size;
    if (width < max_columns) keep = i;
    if (width > max_columns) return std::string(text.substr(0, keep)) + std::string(mark);
  }
  return std::string(text);
}

}  // namespace moe
