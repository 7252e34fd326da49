// SPDX-License-Identifier: MIT
#include "moe/data/hidden_characters.h"

#include <algorithm>

#include "moe/base/utf8.h"
#include "moe/text/unicode.h"

namespace moe {
namespace {

bool in(char32_t c, char32_t first, char32_t last) { return c >= first && c <= last; }

bool is_latin_letter(char32_t c) { return in(c, 'a', 'z') || in(c, 'A', 'Z'); }

/// Cyrillic and Greek letters that are drawn as Latin ones.
bool looks_latin(char32_t c) {
  static constexpr std::u32string_view kAlike =
      U"\u0430\u0435\u043E\u0440\u0441\u0443\u0445\u0455\u0456\u0458\u04BB\u0501\u051B\u051D"
      U"\u0410\u0412\u0415\u041A\u041C\u041D\u041E\u0420\u0421\u0422\u0423\u0425\u0405\u0406\u0408"
      U"\u03BF\u03BD\u03C1\u0391\u0392\u0395\u0396\u0397\u0399\u039A\u039C\u039D\u039F\u03A1\u03A4"
      U"\u03A5\u03A7";
  return kAlike.find(c) != std::u32string_view::npos;
}

/// Ligatures, mathematical letters, full-width and circled ones.
bool is_other_form(char32_t c) {
  return in(c, 0xFB00, 0xFB06) || in(c, 0x1D400, 0x1D7FF) || in(c, 0xFF21, 0xFF3A) ||
         in(c, 0xFF41, 0xFF5A) || in(c, 0x24B6, 0x24E9);
}

bool is_emoji(char32_t c) {
  return in(c, 0x1F000, 0x1FAFF) || in(c, 0x2190, 0x2BFF) || in(c, 0x3030, 0x303D) || c == 0xA9 ||
         c == 0xAE || c == 0xFE0F || c == 0x20E3;
}

/// A letter or mark of a script that writes with joiners: Arabic, those of India and its
/// neighbours, Mongolian.
bool needs_joiners(char32_t c) {
  return in(c, 0x600, 0x8FF) || in(c, 0x900, 0xDFF) || in(c, 0xE00, 0x109F) ||
         in(c, 0x1780, 0x18AF) || in(c, 0xFB50, 0xFDFF) || in(c, 0xFE70, 0xFEFC);
}

/// The kind of a character that is nothing to look at, "" for others.
const char* invisible(char32_t c, char32_t before, char32_t after) {
  if (c == 0x200C || c == 0x200D)
    return needs_joiners(before) || (is_emoji(before) && is_emoji(after)) ? "" : "zero width";
  if (c == 0x200B || c == 0x2060 || c == 0xFEFF || c == 0x180E || in(c, 0x2061, 0x2064) ||
      c == 0x115F || c == 0x1160 || c == 0x3164 || c == 0xFFA0 || c == 0x2800 || c == 0x34F)
    return "zero width";
  if (in(c, 0x202A, 0x202E) || in(c, 0x2066, 0x2069) || in(c, 0x206A, 0x206F)) return "direction";
  if (in(c, 0xE0000, 0xE007F)) return "tags";
  if (in(c, 0xE0100, 0xE01EF)) return "tags";
  if (in(c, 0xFE00, 0xFE0E) && before < 0x2000) return "tags";
  if (c < 0x20 ? c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != '\v'
               : in(c, 0x7F, 0x9F) && c != 0x85)
    return "controls";
  if (in(c, 0xFFF9, 0xFFFB)) return "controls";
  return "";
}

}  // namespace

std::vector<HiddenCharacters> find_hidden_characters(std::string_view text) {
  const uint16_t* flags = code_point_flags();
  std::vector<HiddenCharacters> out;
  bool has_latin = false, has_alike = false, has_form = false;
  size_t word = 0;
  const auto end_word = [&](size_t at) {
    // A word wholly in Cyrillic or in full width is just written so.
    if (has_latin && has_alike)
      out.push_back({"look-alikes", word, at});
    else if (has_form)
      out.push_back({"other forms", word, at});
    has_latin = has_alike = has_form = false;
  };
  char32_t before = ' ';
  bool inside = false, flag = false;  // flag: within the tags of a black flag emoji
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    const size_t next = i + c.size;
    if (c.value < 0x7F && c.value >= 0x20) {
      if (is_latin_letter(c.value)) {
        if (!inside) word = i;
        inside = has_latin = true;
      } else if (inside) {
        end_word(i);
        inside = false;
      }
    } else {
      if (flags[c.value] & (kLetter | kMark) || is_other_form(c.value)) {
        if (!inside) word = i;
        inside = true;
        has_alike = has_alike || looks_latin(c.value);
        has_form = has_form || is_other_form(c.value);
      } else if (inside && !(flags[c.value] & kControl)) {
        end_word(i);
        inside = false;
      }
      const char32_t after = next < text.size() ? code_point_at(text, next).value : U' ';
      flag = before == 0x1F3F4 || flag ? in(c.value, 0xE0000, 0xE007F) : false;
      const std::string_view kind = flag ? "" : invisible(c.value, before, after);
      if (!kind.empty()) {
        if (!out.empty() && out.back().kind == kind && out.back().end == i)
          out.back().end = next;
        else
          out.push_back({std::string(kind), i, next});
      }
    }
    before = c.value;
    i = next;
  }
  if (inside) end_word(text.size());
  return out;
}

}  // namespace moe
