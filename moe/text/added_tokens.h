// SPDX-License-Identifier: MIT
// Tokens that are cut out of a text as units before anything else happens to it: markers like
// "<|im_start|>", and what people add to a vocabulary. Matching is leftmost-longest, as in
// `tokenizers`.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "moe/text/tokenizer.h"
#include "moe/text/vocabulary.h"

namespace moe {

/// An entry of "added_tokens" in a tokenizer.json.
struct AddedToken {
  TokenId id = 0;
  std::string content = {};
  bool single_word = false;             // no word character may stand beside it
  bool lstrip = false, rstrip = false;  // swallows the white space on that side
  bool normalized = false;              // looked for in the normalised text
  bool special = false;  // decoding leaves it out; found only where the caller allows
};

/// Finds a set of them.
class AddedTokenFinder {
 public:
  /// contents: what to look for, one for each token, not empty.
  AddedTokenFinder(std::vector<AddedToken> tokens, const std::vector<std::string>& contents);
  bool empty() const { return tokens_.empty(); }
  /// Calls text(part, begin) for what lies between matches and token(id) for each match, in order.
  /// marks: one for each byte, or none; a special token is then found only where all of its bytes
  /// have the mark 0.
  void split(std::string_view text, SpecialTokens specials,
             const std::function<void(std::string_view, size_t begin)>& on_text,
             const std::function<void(TokenId)>& on_token, std::string_view marks = {}) const;

 private:
  struct Match {
    size_t size = 0;
    const AddedToken* token = nullptr;
  };
  Match longest_at(std::string_view text, size_t position) const;

  std::vector<AddedToken> tokens_;
  bool first_bytes_[256] = {};
  Trie trie_;  // values: places in tokens_
};

}  // namespace moe
