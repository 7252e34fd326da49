// SPDX-License-Identifier: MIT
#include "moe/text/piece_scanner.h"

#include <algorithm>
#include <vector>

#include "moe/base/error.h"
#include "moe/text/unicode.h"

namespace moe {
namespace {

const uint16_t* const& flags_table() {
  static const uint16_t* const table = code_point_flags();
  return table;
}

/// Walks over a text by code points; a byte that is not UTF-8 has no property.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text), flags_(flags_table()) {}
  bool at_end(size_t i) const { return i >= text_.size(); }
  char byte(size_t i) const { return i < text_.size() ? text_[i] : '\0'; }
  bool is_newline(size_t i) const {
    return i < text_.size() && (text_[i] == '\n' || text_[i] == '\r');
  }
  /// Flags of the code point at i (0 at the end of the text) and its size.
  uint16_t flags(size_t i, size_t& size) const {
    if (i >= text_.size()) {
      size = 0;
      return 0;
    }
    const auto first = static_cast<uint8_t>(text_[i]);
    if (first < 0x80) {
      size = 1;
      return flags_[first];
    }
    const CodePoint c = code_point_at(text_, i);
    size = c.size;
    return flags_[c.value];
  }
  uint16_t flags(size_t i) const {
    size_t size = 0;
    return flags(i, size);
  }
  char32_t value(size_t i) const {
    return i < text_.size() ? code_point_at(text_, i).value : kInvalidByte;
  }
  size_t next(size_t i) const {
    size_t size = 0;
    flags(i, size);
    return i + size;
  }
  /// The end of the longest run from i whose code points have one of the flags in `any`, and none
  /// of those in `none`.
  size_t run(size_t i, uint16_t any, uint16_t none = 0) const {
    size_t size = 0;
    while (i < text_.size()) {
      const uint16_t f = flags(i, size);
      if (!(f & any) || (f & none)) break;
      i += size;
    }
    return i;
  }
  /// The same for code points that have none of the flags.
  size_t run_without(size_t i, uint16_t none) const {
    size_t size = 0;
    while (i < text_.size() && !(flags(i, size) & none)) i += size;
    return i;
  }
  size_t run_of_newlines(size_t i) const {
    while (is_newline(i)) ++i;
    return i;
  }
  /// At most n code points with the flag.
  size_t up_to(size_t i, uint16_t flag, int n) const {
    size_t size = 0;
    for (; n > 0 && i < text_.size() && (flags(i, size) & flag); --n) i += size;
    return i;
  }
  size_t size() const { return text_.size(); }
  std::string_view text() const { return text_; }

 private:
  std::string_view text_;
  const uint16_t* flags_;
};

/// Bytes of 's 't 're 've 'm 'll 'd at i, or 0. fold: also in upper case, where U+017F is an s.
size_t contraction(const Cursor& c, size_t i, bool fold) {
  if (c.byte(i) != '\'') return 0;
  const auto lower = [&](size_t at) {
    const char b = c.byte(at);
    return fold && b >= 'A' && b <= 'Z' ? static_cast<char>(b + 32) : b;
  };
  const char first = lower(i + 1), second = lower(i + 2);
  if (first == 's' || first == 'd' || first == 'm' || first == 't') return 2;
  if ((first == 'l' && second == 'l') || (first == 'v' && second == 'e') ||
      (first == 'r' && second == 'e'))
    return 3;
  if (fold && c.value(i + 1) == 0x17F) return 3;  // two bytes
  return 0;
}

/// \s*[\r\n]+ where `newline`, then \s+(?!\S)|\s+ ; text[i] is white space. dollar: a run at the
/// end of the text stays whole.
size_t white_space(const Cursor& c, size_t i, bool newline, bool dollar) {
  size_t end = i, last = i, after_newline = 0;
  while (!c.at_end(end)) {
    size_t size = 0;
    if (!(c.flags(end, size) & kWhiteSpace)) break;
    if (c.is_newline(end)) after_newline = end + 1;
    last = end;
    end += size;
  }
  if (dollar && end == c.size()) return end;
  if (newline && after_newline > 0) return after_newline;
  return end == c.size() || last == i ? end : last;
}

/// One space in front of something that is neither at the end nor white space.
size_t skip_space(const Cursor& c, size_t i) {
  return c.byte(i) == ' ' && !c.at_end(i + 1) ? i + 1 : i;
}

size_t scan_gpt2(std::string_view text, size_t begin) {
  const Cursor c(text);
  if (const size_t n = contraction(c, begin, false)) return begin + n;
  const size_t k = skip_space(c, begin);
  const uint16_t f = c.flags(k);
  if (f & kLetter) return c.run(k, kLetter);
  if (f & kNumber) return c.run(k, kNumber);
  if (!(f & kWhiteSpace)) return c.run_without(k, kLetter | kNumber | kWhiteSpace);
  return white_space(c, begin, false, false);
}

/// The cl100k family. letter: what words are made of.
template <int digits, bool dollar, uint16_t letter = kLetter>
size_t scan_cl100k(std::string_view text, size_t begin) {
  const Cursor c(text);
  if (const size_t n = contraction(c, begin, true)) return begin + n;
  size_t size = 0;
  const uint16_t f = c.flags(begin, size);
  if (f & letter) return c.run(begin, letter);
  if (!c.is_newline(begin) && !(f & (kNumber | kLetter)) && (c.flags(begin + size) & letter))
    return c.run(begin + size, letter);
  if (f & kNumber) return c.up_to(begin, kNumber, digits);
  const size_t k = skip_space(c, begin);
  if (!(c.flags(k) & (letter | kNumber | kWhiteSpace)))
    return c.run_of_newlines(c.run_without(k, letter | kNumber | kWhiteSpace));
  return white_space(c, begin, true, dollar);
}

/// The branches of o200k from `start` on: [Lu Lt Lm Lo M]*[Ll Lm Lo M]+, or 0.
size_t lower_word(const Cursor& c, size_t start, uint16_t none) {
  constexpr uint16_t kUpper = kUpperCase | kOtherLetter | kMark,
                     kLower = kLowerCase | kOtherLetter | kMark;
  size_t end = start, after_lower = 0, size = 0;
  while (!c.at_end(end)) {
    const uint16_t f = c.flags(end, size);
    if (!(f & kUpper) || (f & none)) break;
    end += size;
    if (f & kLower) after_lower = end;
  }
  const size_t all = c.run(end, kLower, none);
  return all > end ? all : after_lower;
}

/// [Lu Lt Lm Lo M]+[Ll Lm Lo M]*, or 0.
size_t upper_word(const Cursor& c, size_t start, uint16_t none) {
  const size_t end = c.run(start, kUpperCase | kOtherLetter | kMark, none);
  return end == start ? 0 : c.run(end, kLowerCase | kOtherLetter | kMark, none);
}

template <int digits, bool contractions, bool han_apart>
size_t scan_o200k(std::string_view text, size_t begin) {
  const Cursor c(text);
  constexpr uint16_t none = han_apart ? kHan : 0;
  if (han_apart && (c.flags(begin) & kHan)) return c.run(begin, kHan);
  size_t size = 0;
  const uint16_t f = c.flags(begin, size);
  const bool may_lead = !c.is_newline(begin) && !(f & (kLetter | kNumber));
  size_t end = 0;
  if (may_lead) end = lower_word(c, begin + size, none);
  if (!end) end = lower_word(c, begin, none);
  if (!end && may_lead) end = upper_word(c, begin + size, none);
  if (!end) end = upper_word(c, begin, none);
  if (end) return contractions ? end + contraction(c, end, true) : end;
  if (f & kNumber) return c.up_to(begin, kNumber, digits);
  const size_t k = skip_space(c, begin);
  if (!(c.flags(k) & (kLetter | kNumber | kWhiteSpace))) {
    size_t stop = c.run_without(k, kLetter | kNumber | kWhiteSpace);
    while (c.is_newline(stop) || (!han_apart && c.byte(stop) == '/')) ++stop;
    return stop;
  }
  return white_space(c, begin, true, false);
}

bool is_cjk_or_kana(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FA5) || (c >= 0x3040 && c <= 0x30FF);
}

bool is_ascii_letter(char b) { return (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z'); }
bool is_ascii_punctuation(char b) {
  return (b >= 33 && b <= 47) || (b >= 58 && b <= 64) || (b >= 91 && b <= 96) ||
         (b >= 123 && b <= 126);
}

/// \p{N}{1,3}, and what lies between.
size_t scan_numbers_by_3(std::string_view text, size_t begin) {
  const Cursor c(text);
  if (c.flags(begin) & kNumber) return c.up_to(begin, kNumber, 3);
  return c.run_without(begin, kNumber);
}

/// [一-龥぀-ゟ゠-ヿ]+, and what lies between.
size_t scan_cjk_and_kana(std::string_view text, size_t begin) {
  const Cursor c(text);
  const bool inside = is_cjk_or_kana(c.value(begin));
  size_t end = begin;
  while (!c.at_end(end) && is_cjk_or_kana(c.value(end)) == inside) end = c.next(end);
  return end;
}

/// The end of what the third pattern of DeepSeek-V3 matches at i, or 0.
size_t match_deepseek_v3(const Cursor& c, size_t i) {
  if (is_ascii_punctuation(c.byte(i)) && is_ascii_letter(c.byte(i + 1))) {
    size_t end = i + 1;
    while (is_ascii_letter(c.byte(end))) ++end;
    return end;
  }
  size_t size = 0;
  const uint16_t f = c.flags(i, size);
  constexpr uint16_t kWord = kLetter | kMark, kOther = kPunctuation | kSymbol;
  if (!c.is_newline(i) && !(f & (kLetter | kOther)) && (c.flags(i + size) & kWord))
    return c.run(i + size, kWord);
  if (f & kWord) return c.run(i, kWord);
  const size_t k = skip_space(c, i);
  if (c.flags(k) & kOther) return c.run_of_newlines(c.run(k, kOther));
  return f & kWhiteSpace ? white_space(c, i, true, false) : 0;
}

size_t scan_deepseek_v3(std::string_view text, size_t begin) {
  const Cursor c(text);
  if (const size_t end = match_deepseek_v3(c, begin)) return end;
  size_t end = c.next(begin);  // a gap between two matches is a piece
  while (!c.at_end(end) && !match_deepseek_v3(c, end)) end = c.next(end);
  return end;
}

size_t scan_single_numbers(std::string_view text, size_t begin) {
  const Cursor c(text);
  if (c.flags(begin) & kNumber) return c.next(begin);
  return c.run_without(begin, kNumber);
}

size_t scan_characters(std::string_view text, size_t begin) { return Cursor(text).next(begin); }

constexpr std::string_view kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
// tiktoken writes \p{N}{1,3}+, possessive there; in a tokenizer.json that is a repetition.
constexpr std::string_view kCl100k =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s)";
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kNanochat =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kO200k =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kKimi =
    R"([\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kDeepseekV3 =
    "[!\"#$%&'()*+,\\-./"
    ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
    "?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
constexpr std::string_view kCjkAndKana = "[一-龥぀-ゟ゠-ヿ]+";

constexpr SplitPattern kPatterns[] = {
    {"gpt2", kGpt2, scan_gpt2, true},
    {"cl100k", kCl100k, scan_cl100k<3, true>, true},
    {"llama3", kLlama3, scan_cl100k<3, false>, true},
    {"qwen2", kQwen2, scan_cl100k<1, false>, true},
    {"qwen3.5", kQwen35, scan_cl100k<1, false, kLetter | kMark>, true},
    {"nanochat", kNanochat, scan_cl100k<2, false>, true},
    {"o200k", kO200k, scan_o200k<3, true, false>, true},
    {"tekken", kTekken, scan_o200k<1, false, false>, true},
    {"kimi-k2", kKimi, scan_o200k<3, true, true>, true},
    {"deepseek-v3", kDeepseekV3, scan_deepseek_v3, false},
    {"numbers-by-3", R"(\p{N}{1,3})", scan_numbers_by_3, false},
    {"numbers", R"(\p{N})", scan_single_numbers, false},
    {"cjk-and-kana", kCjkAndKana, scan_cjk_and_kana, false},
    {"characters", R"([\s\S])", scan_characters, true},
};

/// Other spellings with the same pieces.
struct Spelling {
  std::string_view regex, name;
};
constexpr Spelling kSpellings[] = {
    {R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", "gpt2"},
    {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)",
     "llama3"},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     "qwen3.5"},
    {"[\\u4E00-\\u9FA5\\u3040-\\u309F\\u30A0-\\u30FF]+", "cjk-and-kana"},
};

}  // namespace

std::span<const SplitPattern> split_patterns() { return kPatterns; }

const SplitPattern& find_split_pattern(std::string_view name) {
  std::vector<std::string> names;
  for (const SplitPattern& p : kPatterns) {
    if (p.name == name) return p;
    names.emplace_back(p.name);
  }
  const std::string near = nearest_word(name, names);
  throw Error(str("[tokenizer] no pattern '", printable(name, 60), "'; there are ",
                  join(names, ", "), near.empty() ? "" : str(". Did you mean ", near, "?")),
              ExitCode::usage);
}

std::string split_regex(const std::string& name_or_regex) {
  const bool is_word = std::all_of(name_or_regex.begin(), name_or_regex.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
  });
  return is_word ? std::string(find_split_pattern(name_or_regex).regex) : name_or_regex;
}

const SplitPattern* known_split_pattern(std::string_view regex) {
  for (const Spelling& s : kSpellings)
    if (s.regex == regex) return &find_split_pattern(s.name);
  for (const SplitPattern& p : kPatterns)
    if (p.regex == regex) return &p;
  return nullptr;
}

}  // namespace moe
