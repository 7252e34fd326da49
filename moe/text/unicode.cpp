// SPDX-License-Identifier: MIT
#include "moe/text/unicode.h"

#include <algorithm>
#include <iterator>
#include <utf8proc.h>
#include <vector>

#include "moe/base/error.h"
#include "moe/base/utf8.h"

namespace moe {
namespace {

bool is_han(char32_t c) {
  // Scripts.txt of Unicode 15.
  constexpr char32_t kRanges[][2] = {{0x2E80, 0x2E99},   {0x2E9B, 0x2EF3},   {0x2F00, 0x2FD5},
                                     {0x3005, 0x3005},   {0x3007, 0x3007},   {0x3021, 0x3029},
                                     {0x3038, 0x303B},   {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},
                                     {0xF900, 0xFA6D},   {0xFA70, 0xFAD9},   {0x16FE2, 0x16FE3},
                                     {0x16FF0, 0x16FF1}, {0x20000, 0x2A6DF}, {0x2A700, 0x2B739},
                                     {0x2B740, 0x2B81D}, {0x2B820, 0x2CEA1}, {0x2CEB0, 0x2EBE0},
                                     {0x2F800, 0x2FA1D}, {0x30000, 0x3134A}, {0x31350, 0x323AF}};
  for (const auto& [first, last] : kRanges)
    if (c >= first && c <= last) return true;
  return false;
}

uint16_t flags_of(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LT: return kLetter | kUpperCase | kWordCharacter;
    case UTF8PROC_CATEGORY_LL: return kLetter | kLowerCase | kWordCharacter;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return kLetter | kOtherLetter | kWordCharacter;
    case UTF8PROC_CATEGORY_MN: return kMark | kNonspacing | kWordCharacter;
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME: return kMark | kWordCharacter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL: return kNumber | kWordCharacter;
    case UTF8PROC_CATEGORY_NO: return kNumber;
    case UTF8PROC_CATEGORY_PC: return kPunctuation | kWordCharacter;
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO: return kPunctuation;
    case UTF8PROC_CATEGORY_SM:
    case UTF8PROC_CATEGORY_SC:
    case UTF8PROC_CATEGORY_SK:
    case UTF8PROC_CATEGORY_SO: return kSymbol;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return kWhiteSpace;
    case UTF8PROC_CATEGORY_CC: {
      const bool blank = (c >= 9 && c <= 13) || c == 0x85;
      return blank ? kControl | kWhiteSpace : kControl;
    }
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CS: return kControl;
    default: return 0;
  }
}

std::vector<uint16_t> make_flags() {
  std::vector<uint16_t> flags(kInvalidByte + 1);
  for (char32_t c = 0; c < kInvalidByte; ++c) {
    flags[c] = flags_of(c);
    if (c >= 0x2E80 && is_han(c)) flags[c] |= kHan;
    // What is Alphabetic or joins beyond letters, marks and numbers.
    const bool circled = (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
                         (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
    if (circled || c == 0x200C || c == 0x200D) flags[c] |= kWordCharacter;
  }
  return flags;
}

/// Calls f(run) for each longest run of well-formed UTF-8 and copies the bytes between.
template <class F>
std::string for_each_run(std::string_view text, F&& f) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t bad = first_invalid_utf8(text);
    const std::string_view run = text.substr(0, bad);
    if (!run.empty()) f(out, run);
    if (bad == std::string_view::npos) break;
    out += text[bad];
    text.remove_prefix(bad + 1);
  }
  return out;
}

}  // namespace

const uint16_t* code_point_flags() {
  static const std::vector<uint16_t> flags = make_flags();
  return flags.data();
}

std::string to_normal_form(std::string_view text, NormalForm form) {
  const bool composed = form == NormalForm::nfc || form == NormalForm::nfkc;
  const bool compatible = form == NormalForm::nfkc || form == NormalForm::nfkd;
  int options = UTF8PROC_STABLE | (composed ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE);
  if (compatible) options |= UTF8PROC_COMPAT;
  const auto combining_class = [](utf8proc_int32_t c) {
    return utf8proc_get_property(c)->combining_class;
  };
  return for_each_run(text, [&](std::string& out, std::string_view run) {
    // Below U+0300 nothing composes; below U+0080 nothing changes at all.
    const auto plain = [&](char c) {
      return static_cast<uint8_t>(c) < (form == NormalForm::nfc ? 0xCC : 0x80);
    };
    if (std::all_of(run.begin(), run.end(), plain)) {
      out += run;
      return;
    }
    // Not utf8proc_map: it sorts marks by bubbles, quadratic in a hostile run of them.
    std::vector<utf8proc_int32_t> points;
    points.reserve(run.size());
    for (size_t i = 0; i < run.size();) {
      const CodePoint c = code_point_at(run, i);
      i += c.size;
      utf8proc_int32_t parts[32];  // the longest decomposition has 18
      int boundary = 0;
      const utf8proc_ssize_t n = utf8proc_decompose_char(
          static_cast<utf8proc_int32_t>(c.value), parts, std::size(parts),
          static_cast<utf8proc_option_t>((options & ~UTF8PROC_COMPOSE) | UTF8PROC_DECOMPOSE),
          &boundary);
      MOE_CHECK(n >= 0 && n <= std::ssize(parts), "[tokenizer] Unicode normalisation failed");
      points.insert(points.end(), parts, parts + n);
    }
    for (auto begin = points.begin(); begin != points.end();) {
      if (combining_class(*begin) == 0) {
        ++begin;
        continue;
      }
      const auto end =
          std::find_if(begin, points.end(), [&](auto c) { return combining_class(c) == 0; });
      std::stable_sort(begin, end,
                       [&](auto a, auto b) { return combining_class(a) < combining_class(b); });
      begin = end;
    }
    utf8proc_ssize_t n = std::ssize(points);
    if (composed)
      n = utf8proc_normalize_utf32(points.data(), n, static_cast<utf8proc_option_t>(options));
    MOE_CHECK(n >= 0, "[tokenizer] Unicode normalisation failed");
    for (utf8proc_ssize_t i = 0; i < n; ++i)
      append_utf8(out, static_cast<char32_t>(points[static_cast<size_t>(i)]));
  });
}

std::string to_lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    if (c.value == kInvalidByte) {
      out += text[i];
    } else if (c.value == 0x130) {  // the only lower-case mapping of two code points
      out += "i\xCC\x87";
    } else {
      append_utf8(out,
                  static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c.value))));
    }
    i += c.size;
  }
  return out;
}

std::string to_upper(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    if (c.value == kInvalidByte)
      out += text[i];
    else if (c.value == 0xDF)
      out += "SS";
    else
      append_utf8(out,
                  static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c.value))));
    i += c.size;
  }
  return out;
}

size_t grapheme_size(std::string_view text, size_t position) {
  utf8proc_int32_t state = 0;
  CodePoint last = code_point_at(text, position);
  size_t size = last.size;
  while (last.value != kInvalidByte && position + size < text.size()) {
    const CodePoint next = code_point_at(text, position + size);
    if (next.value == kInvalidByte ||
        utf8proc_grapheme_break_stateful(static_cast<utf8proc_int32_t>(last.value),
                                         static_cast<utf8proc_int32_t>(next.value), &state))
      break;
    size += next.size;
    last = next;
  }
  return size;
}

}  // namespace moe
