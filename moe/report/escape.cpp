// SPDX-License-Identifier: MIT
// The character classes are XML 1.0's production [2] Char, less the ones it discourages below
// U+00A0.
#include "moe/report/escape.h"

#include "moe/base/utf8.h"

namespace moe {

std::string escape_markup(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = code_point_at(text, i);
    const char32_t c = point.value;
    const bool space = c == '\t' || c == '\n' || c == '\r';
    const bool control = (c < 0x20 && !space) || (c >= 0x7f && c < 0xa0);
    if (point.value == kInvalidByte || control || c == 0xfffe || c == 0xffff)
      out += "\xef\xbf\xbd";
    else if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else
      out += text.substr(i, point.size);
    i += point.size;
  }
  return out;
}

}  // namespace moe
