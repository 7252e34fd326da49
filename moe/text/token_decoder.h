// SPDX-License-Identifier: MIT
// The "decoder" of a tokenizer.json: from the texts of tokens to text. All kinds of `tokenizers`
// 0.23: ByteLevel, Metaspace, WordPiece, BPEDecoder, ByteFallback, Fuse, Strip, Replace, CTC,
// Sequence.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "moe/base/json.h"

namespace moe {

class TokenDecoder {
 public:
  virtual ~TokenDecoder() = default;
  /// Rewrites the list; the text is what its strings give one after another.
  virtual void apply(std::vector<std::string>& tokens) const = 0;
};

/// null for JSON null: tokens are then joined by spaces. Throws Error that names an unknown type or
/// a wrong field.
std::unique_ptr<TokenDecoder> make_token_decoder(const Json& json, const std::string& what);

/// The byte of "<0xE4>", or -1.
int byte_of_fallback_token(std::string_view token);

}  // namespace moe
