// SPDX-License-Identifier: MIT
// A tokenizer as data: the parts of a tokenizer.json, whatever file they came from. The four steps
// around the model stay the JSON that they are, so that writing a file again keeps it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "moe/base/json.h"
#include "moe/text/added_tokens.h"
#include "moe/text/token_model.h"
#include "moe/text/tokenizer.h"

namespace moe {

struct TokenizerSpec {
  TokenModelSpec model = {};
  std::vector<AddedToken> added_tokens = {};
  Json normalizer = nullptr, pre_tokenizer = nullptr, post_processor = nullptr, decoder = nullptr;
  std::optional<TokenId> bos_id = {}, eos_id = {}, pad_id = {};
  std::string chat_template = {};  // Jinja; "" when the files hold none

  /// One more than the largest id.
  int64_t vocab_size() const;
};

/// The tokenizer of these parts. Throws Error that names the part which is wrong or unknown. what:
/// how errors call the source.
std::unique_ptr<Tokenizer> make_tokenizer(TokenizerSpec spec, const std::string& what);

/// What a post-processor adds around one text, e.g. [BOS] and nothing.
struct SpecialFrame {
  std::vector<TokenId> before = {}, after = {};
};
/// Throws Error that names an unknown type or a wrong field.
SpecialFrame read_post_processor(const Json& json, const std::string& what);

}  // namespace moe
