// SPDX-License-Identifier: MIT
// The "model" of a tokenizer.json: from a piece of text to ids. Byte-pair encoding (Sennrich et al.
// 2016, arXiv:1508.07909), WordPiece (Wu et al. 2016, arXiv:1609.08144), Unigram (Kudo 2018,
// arXiv:1804.10959) and WordLevel, each with the rules of `tokenizers` 0.23.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "moe/text/tokenizer.h"

namespace moe {

enum class TokenModelKind { bpe, word_piece, unigram, word_level };
/// "BPE", "WordPiece", "Unigram", "WordLevel": the type in a tokenizer.json.
std::string_view name_of(TokenModelKind kind);

/// All that a model is: what readers make, trainers make and writers write.
struct TokenModelSpec {
  TokenModelKind kind = TokenModelKind::bpe;
  /// By id, as the file spells them; "" where no token has the id.
  std::vector<std::string> vocab = {};
  struct Merge {
    TokenId left, right, result;
  };
  std::vector<Merge> merges = {};   // BPE, the first to be applied first
  std::vector<double> scores = {};  // Unigram: log-probability of each id
  bool single_precision = false;    // Unigram: sums in float, as SentencePiece, and not in double
  /// BPE: what is to be applied first, by place in merges: the leftmost of equals. Empty: all
  /// differ.
  std::vector<uint32_t> ranks = {};
  std::optional<TokenId> unk_id = {};
  std::string continuing_subword_prefix = {}, end_of_word_suffix = {};
  bool fuse_unk = false, byte_fallback = false;
  /// Ids that no text gives (SentencePiece's UNUSED pieces). BPE may still merge into one on the
  /// way to a longer token; what is one at the end is cut in two again.
  std::vector<TokenId> unused = {};
  /// Ids that their text always gives, the longest at each place, whatever is around it
  /// (SentencePiece's USER_DEFINED pieces; BPE and Unigram).
  std::vector<TokenId> user_defined = {};
  bool ignore_merges = false;  // a piece that is a token is that token, whatever its merges give
  int64_t max_input_chars_per_word = 100;
};

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  /// Appends the ids of one piece. Safe to call from several threads. Throws Error when a piece
  /// cannot be encoded and the model has no token for that.
  virtual void encode(std::string_view piece, std::vector<TokenId>& out) const = 0;
};

/// raw_bytes: pieces come as bytes and the vocabulary is spelled in the byte alphabet. never:
/// is_special by id, tokens that no text may give. Throws Error when the parts do not fit together.
std::unique_ptr<TokenModel> make_token_model(const TokenModelSpec& spec,
                                             const std::vector<bool>& never, bool raw_bytes,
                                             const std::string& what);

}  // namespace moe
