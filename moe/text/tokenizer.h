// SPDX-License-Identifier: MIT
// Text to token ids and back. Two tokenizers without training, `byte` (ids 0..255 are the byte
// values, 256 ends a text) and `char` (one id per code point of the training text), and those of
// tokenizer.json and other files (moe/text/tokenizer_files.h).
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

/// What encoding does with the text of a special token ("<|im_end|>"): people's text must not be
/// able to write one, a template's text must.
enum class SpecialTokens { as_text, parse };

struct TokenizerSpec;

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// "byte", "char", or the kind of model: "BPE", "WordPiece", "Unigram", "WordLevel".
  virtual std::string kind() const = 0;
  /// Ids are 0 .. vocab_size() - 1; a file may leave some of them out.
  virtual int64_t vocab_size() const = 0;
  /// The ids of a text; nothing is added at either end. Throws Error that names the first character
  /// without an id and its byte offset, where the tokenizer has no other way.
  virtual std::vector<TokenId> encode(std::string_view text,
                                      SpecialTokens specials = SpecialTokens::as_text) const = 0;
  /// The ids of a text of which a program wrote some parts and people others: special tokens are
  /// found only where every byte has the mark 0 (jinja::Text::origins). marks: one for each byte of
  /// the text, or none when all of it is the program's. Cut once, as a whole: marks change no other
  /// id.
  virtual std::vector<TokenId> encode_marked(std::string_view text,
                                             std::string_view marks) const = 0;
  /// The bytes one id stands for within a text; of a special token its text, of an id that a file
  /// leaves out none. Valid as long as the tokenizer. Throws Error when the id is out of range.
  virtual std::string_view token_bytes(TokenId id) const = 0;
  /// The id that ends a text, if there is one.
  virtual std::optional<TokenId> eos_id() const { return std::nullopt; }
  /// The id that begins a text, if there is one.
  virtual std::optional<TokenId> bos_id() const { return std::nullopt; }
  virtual bool is_special(TokenId id) const { return id == eos_id() || id == bos_id(); }

  /// The text of ids, special tokens left out. Where a token may end inside a character the bytes
  /// need not be well-formed UTF-8: see Utf8Stream.
  virtual std::string decode(std::span<const TokenId> ids) const;
  /// Whether the ids of a text are those of its parts, cut at the places that line_cut() finds
  /// (moe/text/encode_batch.h).
  virtual bool cuts_at_lines() const { return false; }
  /// The parts of a tokenizer that came from a file; null for byte and char.
  virtual const TokenizerSpec* spec() const { return nullptr; }
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
