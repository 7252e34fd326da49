// SPDX-License-Identifier: MIT
#include "moe/text/added_tokens.h"

#include "moe/text/unicode.h"

namespace moe {

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens,
                                   const std::vector<std::string>& contents)
    : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (contents[i].empty()) continue;
    first_bytes_[static_cast<uint8_t>(contents[i][0])] = true;
    trie_.add(contents[i], static_cast<int32_t>(i));
  }
}

AddedTokenFinder::Match AddedTokenFinder::longest_at(std::string_view text, size_t position) const {
  Match best;
  uint32_t node = 0;
  for (size_t i = position; i < text.size(); ++i) {
    node = trie_.child(node, static_cast<uint8_t>(text[i]));
    if (node == 0) break;
    if (const int32_t token = trie_.value(node); token >= 0)
      best = {i + 1 - position, &tokens_[static_cast<size_t>(token)]};
  }
  return best;
}

void AddedTokenFinder::split(std::string_view text, SpecialTokens specials,
                             const std::function<void(std::string_view, size_t)>& on_text,
                             const std::function<void(TokenId)>& on_token,
                             std::string_view marks) const {
  const uint16_t* flags = code_point_flags();
  size_t done = 0;  // handed out
  for (size_t i = 0; i < text.size();) {
    if (!first_bytes_[static_cast<uint8_t>(text[i])]) {
      ++i;
      continue;
    }
    const Match match = longest_at(text, i);
    if (!match.token) {
      ++i;
      continue;
    }
    size_t begin = i, end = i + match.size;
    i = end;  // refused or not, what matched is not looked at again
    const AddedToken& token = *match.token;
    if (token.special && specials == SpecialTokens::as_text) continue;
    const std::string_view own_marks = marks.substr(std::min(begin, marks.size()), match.size);
    if (token.special && own_marks.find_first_not_of('\0') != std::string_view::npos) continue;
    if (token.single_word) {
      const bool left = begin > 0 && (flags[code_point_before(text, begin).value] & kWordCharacter);
      const bool right =
          end < text.size() && (flags[code_point_at(text, end).value] & kWordCharacter);
      if (left || right) continue;
    }
    while (token.lstrip && begin > done) {
      const CodePoint c = code_point_before(text, begin);
      if (!(flags[c.value] & kWhiteSpace)) break;
      begin -= c.size;
    }
    while (token.rstrip && end < text.size()) {
      const CodePoint c = code_point_at(text, end);
      if (!(flags[c.value] & kWhiteSpace)) break;
      end += c.size;
    }
    // A token within white space that the one before it swallowed still counts, as in the library.
    if (begin > done) on_text(text.substr(done, begin - done), done);
    on_token(token.id);
    done = end;
  }
  if (done < text.size()) on_text(text.substr(done), done);
}

}  // namespace moe
