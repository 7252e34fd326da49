// SPDX-License-Identifier: MIT
#include "moe/data/filter.h"

#include <algorithm>
#include <array>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "moe/base/rng.h"
#include "moe/base/str.h"
#include "moe/base/utf8.h"
#include "moe/text/unicode.h"

namespace moe {
namespace {

/// Words in lower case (ASCII), without punctuation around them, and where each begins and ends.
struct Word {
  std::string text;
  size_t begin, end;
};
std::vector<Word> words_of(std::string_view text) {
  const uint16_t* flags = code_point_flags();
  std::vector<Word> out;
  Word word{{}, 0, 0};
  const auto end = [&] {
    if (!word.text.empty()) out.push_back(std::move(word));
    word = {{}, 0, 0};
  };
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    const bool inside = flags[c.value] & (kLetter | kMark | kNumber);
    if (inside || (c.value == '\'' && !word.text.empty())) {
      if (word.text.empty()) word.begin = i;
      for (const char b : text.substr(i, c.size))
        word.text += b >= 'A' && b <= 'Z' ? static_cast<char>(b + 32) : b;
      word.end = i + c.size;
    } else {
      end();
    }
    i += c.size;
  }
  end();
  return out;
}

struct Language {
  const char* name;
  std::array<const char*, 12> words;
};
constexpr Language kLanguages[] = {
    {"en", {"the", "and", "of", "to", "is", "in", "that", "it", "was", "for", "you", "with"}},
    {"de", {"der", "die", "und", "das", "ist", "nicht", "ein", "zu", "den", "mit", "ich", "auf"}},
    {"fr", {"le", "la", "les", "et", "des", "est", "une", "que", "dans", "pour", "pas", "du"}},
    {"es", {"el", "los", "que", "y", "las", "una", "por", "con", "para", "del", "es", "se"}},
    {"it", {"il", "che", "di", "e", "gli", "una", "per", "non", "sono", "con", "della", "nel"}},
    {"pt", {"o", "que", "os", "uma", "não", "com", "para", "do", "da", "em", "mais", "como"}},
    {"nl", {"het", "een", "en", "van", "niet", "dat", "zijn", "op", "voor", "met", "te", "aan"}}};

}  // namespace

double symbol_ratio(std::string_view text) {
  const uint16_t* flags = code_point_flags();
  int64_t n = 0, symbols = 0;
  for (size_t i = 0; i < text.size(); ++n) {
    const CodePoint c = code_point_at(text, i);
    if (!(flags[c.value] & (kLetter | kMark | kNumber | kWhiteSpace))) ++symbols;
    i += c.size;
  }
  return n ? double(symbols) / double(n) : 0;
}

double repeated_lines(std::string_view text) {
  std::unordered_set<std::string_view> seen;
  int64_t all = 0, again = 0;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const int64_t n = count_code_points(line);
    all += n;
    if (!seen.insert(line).second) again += n;
  }
  return all ? double(again) / double(all) : 0;
}

double repeated_words(std::string_view text) {
  constexpr size_t kRun = 5;
  const std::vector<Word> words = words_of(text);
  std::unordered_set<uint64_t> seen;
  int64_t all = 0, again = 0;
  size_t counted = 0;  // words before it are counted as repeated already
  for (const Word& word : words) all += int64_t(word.end - word.begin);
  for (size_t i = 0; i + kRun <= words.size(); ++i) {
    uint64_t h = 0;
    for (size_t k = i; k < i + kRun; ++k) h = stable_hash(words[k].text, h);
    if (seen.insert(h).second) continue;
    for (size_t k = std::max(i, counted); k < i + kRun; ++k)
      again += int64_t(words[k].end - words[k].begin);
    counted = i + kRun;
  }
  return all ? double(again) / double(all) : 0;
}

std::string guess_language(std::string_view text) {
  constexpr size_t kLooked = size_t{20} << 10;
  text = text.substr(0, kLooked);
  const uint16_t* flags = code_point_flags();
  std::map<std::string, int64_t> scripts;
  int64_t letters = 0, latin = 0;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    i += c.size;
    const char32_t v = c.value;
    if (!(flags[v] & kLetter)) continue;
    ++letters;
    if (v < 0x250)
      ++latin;
    else if (flags[v] & kHan)
      ++scripts["zh"];
    else if (v >= 0x3040 && v <= 0x30FF)
      scripts["ja"] += 1;
    else if ((v >= 0xAC00 && v <= 0xD7A3) || (v >= 0x1100 && v <= 0x11FF))
      ++scripts["ko"];
    else if (v >= 0x400 && v <= 0x52F)
      ++scripts["ru"];
    else if (v >= 0x370 && v <= 0x3FF)
      ++scripts["el"];
    else if (v >= 0x600 && v <= 0x6FF)
      ++scripts["ar"];
    else if (v >= 0x590 && v <= 0x5FF)
      ++scripts["he"];
    else if (v >= 0x900 && v <= 0x97F)
      ++scripts["hi"];
    else if (v >= 0xE00 && v <= 0xE7F)
      ++scripts["th"];
  }
  if (letters < 4) return "";
  // Japanese mixes kana with Han: a tenth of kana decides.
  if (scripts["ja"] > 0 && 10 * scripts["ja"] >= scripts["ja"] + scripts["zh"]) {
    scripts["ja"] += scripts["zh"];
    scripts["zh"] = 0;
  }
  for (const auto& [name, n] : scripts)
    if (2 * n > letters) return name;
  if (2 * latin <= letters) return "";
  std::string best;
  int64_t most = 0, total = 0;
  const std::vector<Word> words = words_of(text);
  std::unordered_map<std::string_view, int64_t> counts;
  for (const Word& word : words) ++counts[word.text];
  for (const Language& language : kLanguages) {
    int64_t n = 0;
    for (const char* word : language.words)
      if (const auto found = counts.find(word); found != counts.end()) n += found->second;
    total += n;
    if (n > most) {
      most = n;
      best = language.name;
    }
  }
  // Of words that only some languages use often, most must be this one's.
  return most >= 2 && 2 * most > total ? best : "";
}

std::string broken_rule(std::string_view text, const FilterRules& rules) {
  const int64_t n = count_code_points(text);
  if (n < rules.min_characters) return "min_characters";
  if (rules.max_characters > 0 && n > rules.max_characters) return "max_characters";
  if (rules.max_symbol_ratio < 1 && symbol_ratio(text) > rules.max_symbol_ratio) return "symbols";
  if (rules.max_repeated_lines < 1 && repeated_lines(text) > rules.max_repeated_lines)
    return "repeated_lines";
  if (rules.max_repeated_words < 1 && repeated_words(text) > rules.max_repeated_words)
    return "repeated_words";
  if (!rules.languages.empty() && std::find(rules.languages.begin(), rules.languages.end(),
                                            guess_language(text)) == rules.languages.end())
    return "language";
  if (!rules.blocked_words.empty()) {
    std::unordered_set<std::string> blocked;
    for (const std::string& word : rules.blocked_words)
      for (const Word& part : words_of(word)) blocked.insert(part.text);
    for (const Word& word : words_of(text))
      if (blocked.contains(word.text)) return "blocked_word";
  }
  for (size_t at = 0;
       !rules.blocked_urls.empty() && (at = text.find("://", at)) != std::string_view::npos;) {
    const std::string_view url =
        text.substr(at, std::min(text.find_first_of(" \t\r\n\"'<>)]", at), text.size()) - at);
    for (const std::string& part : rules.blocked_urls)
      if (url.find(part) != std::string_view::npos) return "blocked_url";
    at += 3;
  }
  return "";
}

}  // namespace moe
