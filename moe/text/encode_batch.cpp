// SPDX-License-Identifier: MIT
#include "moe/text/encode_batch.h"

#include "moe/base/parallel.h"
#include "moe/text/unicode.h"

namespace moe {

std::vector<std::vector<TokenId>> encode_batch(const Tokenizer& tokenizer,
                                               std::span<const std::string_view> texts,
                                               SpecialTokens specials) {
  std::vector<std::vector<TokenId>> out(texts.size());
  parallel_for(std::ssize(texts), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      out[size_t(i)] = tokenizer.encode(texts[size_t(i)], specials);
  });
  return out;
}

size_t line_cut(std::string_view text, size_t from) {
  const uint16_t* flags = code_point_flags();
  for (size_t i = from == 0 ? 1 : from; i + 1 < text.size(); ++i) {
    i = text.find('\n', i);
    if (i == std::string_view::npos || i + 1 >= text.size()) break;
    const bool visible = !(flags[code_point_before(text, i).value] & kWhiteSpace);
    const bool begins_word = flags[code_point_at(text, i + 1).value] & (kLetter | kNumber);
    if (visible && begins_word) return i + 1;
  }
  return text.size();
}

std::vector<TokenId> encode_text(const Tokenizer& tokenizer, std::string_view text,
                                 SpecialTokens specials,
                                 const std::function<void(uint64_t)>& done) {
  // Long enough to be worth a thread's while, short enough to divide evenly and to report.
  constexpr size_t kPart = size_t{256} << 10;
  if (!tokenizer.cuts_at_lines() || text.size() < 2 * kPart)
    return tokenizer.encode(text, specials);
  std::vector<std::string_view> parts;
  std::vector<TokenId> out;
  out.reserve(text.size() / 3);
  const size_t at_once = 16 * static_cast<size_t>(n_threads());
  for (size_t begin = 0; begin < text.size();) {
    parts.clear();
    while (parts.size() < at_once && begin < text.size()) {
      const size_t end = line_cut(text, begin + kPart);
      parts.push_back(text.substr(begin, end - begin));
      begin = end;
    }
    std::vector<std::vector<TokenId>> ids(parts.size());
    parallel_for(std::ssize(parts), 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i)
        ids[size_t(i)] = tokenizer.encode(parts[size_t(i)], specials);
    });
    for (const std::vector<TokenId>& more : ids) out.insert(out.end(), more.begin(), more.end());
    if (done) done(begin);
  }
  return out;
}

}  // namespace moe
