// SPDX-License-Identifier: MIT
#include "moe/data/spelling_model.h"

#include <algorithm>
#include <cmath>

#include "moe/base/utf8.h"

namespace moe {
namespace {

constexpr size_t kContext = 3;
constexpr size_t kMostCharacters = 48;  // of a word; the rest says nothing new
constexpr char32_t kBegin = 0x110001, kEnd = 0x110002;
constexpr double kUnseen = 1.0 / 300;  // of a character that no other word has

std::vector<char32_t> padded(std::string_view word) {
  std::vector<char32_t> out(kContext, kBegin);
  for (size_t i = 0; i < word.size() && out.size() < kContext + kMostCharacters;) {
    const CodePoint c = code_point_at(word, i);
    out.push_back(c.value);
    i += c.size;
  }
  out.push_back(kEnd);
  return out;
}

/// The n characters from `from` on, as a key; of contexts and of what follows them alike.
uint64_t key(const std::vector<char32_t>& text, size_t from, size_t n, bool context) {
  uint64_t h = (context ? 0x9E3779B97F4A7C15u : 0x632BE59BD9B4E019u) + n;
  for (size_t i = from; i < from + n; ++i) {
    h = (h ^ text[i]) * 0xBF58476D1CE4E5B9u;
    h ^= h >> 29;
  }
  return h;
}

}  // namespace

void SpellingModel::add(std::string_view word) {
  const std::vector<char32_t> text = padded(word);
  for (size_t i = kContext; i < text.size(); ++i)
    for (size_t n = 0; n <= kContext; ++n) {
      Count& seen = counts_[key(text, i - n, n + 1, false)];
      Count& context = counts_[key(text, i - n, n, true)];
      if (seen.n++ == 0) ++context.types;
      ++context.n;
    }
}

std::vector<double> SpellingModel::bits(std::string_view word) const {
  const std::vector<char32_t> text = padded(word);
  std::unordered_map<uint64_t, int64_t> own;
  for (size_t i = kContext; i < text.size(); ++i)
    for (size_t n = 0; n <= kContext; ++n) {
      ++own[key(text, i - n, n + 1, false)];
      ++own[key(text, i - n, n, true)];
    }
  const auto of_others = [&](uint64_t k) {
    const auto found = counts_.find(k);
    Count out = found == counts_.end() ? Count{} : found->second;
    out.n -= own[k];
    return out;
  };
  std::vector<double> out;
  for (size_t i = kContext; i < text.size(); ++i) {
    double p = kUnseen;
    for (size_t n = 0; n <= kContext; ++n) {
      const Count context = of_others(key(text, i - n, n, true));
      if (context.n <= 0) break;
      const Count seen = of_others(key(text, i - n, n + 1, false));
      // Types that this word alone brought stay counted: a context that others rarely had is
      // trusted less, which is as well.
      p = (double(std::max<int64_t>(seen.n, 0)) + double(context.types) * p) /
          double(context.n + context.types);
    }
    out.push_back(-std::log2(p));
  }
  return out;
}

}  // namespace moe
