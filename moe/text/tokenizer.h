// SPDX-License-Identifier: MIT
// Text to token ids and back. Two tokenizers without training: `byte` (ids 0..255 are the byte
// values, 256 ends a text) and `char` (one id per code point of the training text). Both are saved
// as a tokenizer.json that Hugging Face `tokenizers` reads with the same ids
// (moe/text/tokenizer_json.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moe {

using TokenId = int32_t;

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// "byte" or "char": the value of data.tokenizer that makes it.
  virtual std::string kind() const = 0;
  /// Ids are 0 .. vocab_size() - 1, without holes.
  virtual int64_t vocab_size() const = 0;
  /// The ids of a text; nothing is added at either end. A special token's text gives its id, as in
  /// `tokenizers`. Throws Error that names the first character without an id and its byte offset.
  virtual std::vector<TokenId> encode(std::string_view text) const = 0;
  /// The bytes one id stands for; of a special token its text. Valid as long as the tokenizer.
  /// Throws Error when the id is out of range.
  virtual std::string_view token_bytes(TokenId id) const = 0;
  /// The id that ends a text, if there is one.
  virtual std::optional<TokenId> eos_id() const { return std::nullopt; }
  /// The id that begins a text, if there is one.
  virtual std::optional<TokenId> bos_id() const { return std::nullopt; }
  virtual bool is_special(TokenId id) const { return id == eos_id() || id == bos_id(); }

  /// The bytes of all ids, special tokens left out. They need not be well-formed UTF-8: see
  /// Utf8Stream.
  std::string decode(std::span<const TokenId> ids) const;
};

/// The text of the byte tokenizer's only special token, id 256.
inline constexpr std::string_view kEndOfText = "<|endoftext|>";

/// 257 ids; encodes any bytes.
std::unique_ptr<Tokenizer> make_byte_tokenizer();

/// The distinct code points of a text, ascending: the vocabulary of a `char` tokenizer. Throws
/// Error with the byte offset when the text is empty or not UTF-8.
std::vector<char32_t> distinct_code_points(std::string_view text);

/// id = index in code_points, which must be distinct, valid (no surrogates) and not empty. No
/// special tokens.
std::unique_ptr<Tokenizer> make_char_tokenizer(std::vector<char32_t> code_points);

}  // namespace moe
