// SPDX-License-Identifier: MIT
#include "moe/text/token_model.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "moe/base/error.h"
#include "moe/text/bpe_model.h"
#include "moe/text/token_decoder.h"
#include "moe/text/unicode.h"
#include "moe/text/vocabulary.h"

namespace moe {
namespace {

StringIds index_of(const TokenModelSpec& spec, const std::vector<bool>& never) {
  StringIds out(spec.vocab.size());
  for (size_t i = 0; i < spec.vocab.size(); ++i)
    if (!spec.vocab[i].empty() && !(i < never.size() && never[i]))
      out.add(spec.vocab[i], static_cast<TokenId>(i));
  return out;
}

class WordLevel : public TokenModel {
 public:
  WordLevel(const TokenModelSpec& spec, const std::vector<bool>& never)
      : ids_(index_of(spec, never)), unk_id_(spec.unk_id) {}
  void encode(std::string_view piece, std::vector<TokenId>& out) const override {
    const TokenId id = ids_.find(piece);
    MOE_CHECK(id >= 0 || unk_id_, "[tokenizer] '", printable(piece, 60),
              "' is not in the vocabulary, and the tokenizer has no token for unknown words");
    out.push_back(id >= 0 ? id : *unk_id_);
  }

 private:
  StringIds ids_;
  std::optional<TokenId> unk_id_;
};

/// The longest token that begins the rest of the word, again and again; a word that cannot be cut
/// so is unknown as a whole.
class WordPiece : public TokenModel {
 public:
  WordPiece(const TokenModelSpec& spec, const std::vector<bool>& never, const std::string& what)
      : max_characters_(spec.max_input_chars_per_word), unk_id_(spec.unk_id.value_or(-1)) {
    MOE_CHECK(spec.unk_id, what, ": a WordPiece model without its unknown token");
    const std::string& prefix = spec.continuing_subword_prefix;
    for (size_t i = 0; i < spec.vocab.size(); ++i) {
      const std::string_view text = spec.vocab[i];
      if (text.empty() || (i < never.size() && never[i])) continue;
      starts_.add(text, static_cast<int32_t>(i));
      if (starts_with(text, prefix) && text.size() > prefix.size())
        continuations_.add(text.substr(prefix.size()), static_cast<int32_t>(i));
    }
  }
  void encode(std::string_view piece, std::vector<TokenId>& out) const override {
    int64_t characters = 0;
    for (size_t i = 0; i < piece.size() && characters <= max_characters_; ++characters)
      i += code_point_at(piece, i).size;
    const size_t before = out.size();
    if (characters <= max_characters_) {
      size_t begin = 0;
      while (begin < piece.size()) {
        const Trie& trie = begin == 0 ? starts_ : continuations_;
        size_t end = begin;
        int32_t id = -1;
        uint32_t node = 0;
        for (size_t i = begin; i < piece.size(); ++i) {
          node = trie.child(node, static_cast<uint8_t>(piece[i]));
          if (node == 0) break;
          const bool whole =
              i + 1 == piece.size() || (static_cast<uint8_t>(piece[i + 1]) & 0xC0) != 0x80;
          if (whole && trie.value(node) >= 0) {
            id = trie.value(node);
            end = i + 1;
          }
        }
        if (id < 0) break;
        out.push_back(id);
        begin = end;
      }
      if (begin == piece.size()) return;
    }
    out.resize(before);
    out.push_back(unk_id_);
  }

 private:
  int64_t max_characters_;
  TokenId unk_id_;
  Trie starts_, continuations_;
};

/// The segmentation of highest probability (Viterbi over the pieces of the vocabulary). A character
/// without a piece costs 10 more than the rarest piece; neighbours of that kind are one unknown.
class Unigram : public TokenModel {
 public:
  Unigram(const TokenModelSpec& spec, const std::vector<bool>& never, const std::string& what)
      : scores_(spec.scores), unk_id_(spec.unk_id), single_precision_(spec.single_precision) {
    MOE_CHECK(scores_.size() == spec.vocab.size(), what, ": a Unigram model with ",
              spec.vocab.size(), " pieces and ", scores_.size(), " scores");
    std::vector<bool> unused(spec.vocab.size()), user_defined(spec.vocab.size());
    for (const TokenId id : spec.unused) unused[static_cast<size_t>(id)] = true;
    for (const TokenId id : spec.user_defined) user_defined[static_cast<size_t>(id)] = true;
    byte_ids_.fill(-1);
    double least = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < spec.vocab.size(); ++i) {
      MOE_CHECK(std::isfinite(scores_[i]), what, ": the score of piece ", i, " is not a number");
      if (!unused[i] && !user_defined[i]) least = std::min(least, scores_[i]);
      if (spec.vocab[i].empty() || (i < never.size() && never[i])) continue;
      const int byte = spec.byte_fallback ? byte_of_fallback_token(spec.vocab[i]) : -1;
      if (byte >= 0) byte_ids_[static_cast<size_t>(byte)] = static_cast<TokenId>(i);
      if (!unused[i]) trie_.add(spec.vocab[i], static_cast<int32_t>(i));
    }
    unknown_score_ = least - 10;
    // SentencePiece's bonus (0.2.3): beside logarithms below zero the user's piece always wins.
    for (const TokenId id : spec.user_defined)
      scores_[static_cast<size_t>(id)] =
          0.1 * static_cast<double>(spec.vocab[static_cast<size_t>(id)].size()) - 0.1;
  }

  void encode(std::string_view piece, std::vector<TokenId>& out) const override {
    if (single_precision_)
      encode_with<float>(piece, out);
    else
      encode_with<double>(piece, out);
  }

 private:
  template <class Real>
  void encode_with(std::string_view piece, std::vector<TokenId>& out) const {
    struct Node {
      Real score = 0;
      size_t begin = kUnset;
      int32_t id = -1;
    };
    std::vector<Node> best(piece.size() + 1);
    for (size_t begin = 0; begin < piece.size();) {
      const size_t character = code_point_at(piece, begin).size;
      const Real here = best[begin].score;
      bool single = false;
      uint32_t node = 0;
      for (size_t i = begin; i < piece.size(); ++i) {
        node = trie_.child(node, static_cast<uint8_t>(piece[i]));
        if (node == 0) break;
        const int32_t id = trie_.value(node);
        if (id < 0) continue;
        const Real score = here + static_cast<Real>(scores_[static_cast<size_t>(id)]);
        Node& end = best[i + 1];
        if (end.begin == kUnset || score > end.score) end = {score, begin, id};
        if (i + 1 - begin == character) single = true;
      }
      if (!single) {
        Node& end = best[begin + character];
        const Real score = here + static_cast<Real>(unknown_score_);
        if (end.begin == kUnset || score > end.score) end = {score, begin, -1};
      }
      begin += character;
    }
    const size_t before = out.size();
    bool unknown = false;  // the piece to the right was unknown
    for (size_t end = piece.size(); end > 0; end = best[end].begin) {
      const Node& n = best[end];
      if (n.id >= 0) {
        out.push_back(n.id);
      } else {
        add_unknown(piece.substr(n.begin, end - n.begin), unknown, out);
      }
      unknown = n.id < 0;
    }
    std::reverse(out.begin() + static_cast<std::ptrdiff_t>(before), out.end());
  }

  static constexpr size_t kUnset = ~size_t{0};

  void add_unknown(std::string_view text, bool more, std::vector<TokenId>& out) const {
    // Ids go out from right to left.
    const auto known = [&](char b) { return byte_ids_[static_cast<uint8_t>(b)] >= 0; };
    if (std::all_of(text.begin(), text.end(), known)) {
      for (size_t i = text.size(); i-- > 0;)
        out.push_back(byte_ids_[static_cast<uint8_t>(text[i])]);
      return;
    }
    MOE_CHECK(unk_id_, "[tokenizer] '", printable(text, 60),
              "' is not in the vocabulary, and the tokenizer has no unknown token");
    if (!more) out.push_back(*unk_id_);
  }

  std::vector<double> scores_;
  std::optional<TokenId> unk_id_;
  bool single_precision_;
  std::array<TokenId, 256> byte_ids_;
  Trie trie_;
  double unknown_score_ = 0;
};

}  // namespace

std::string_view name_of(TokenModelKind kind) {
  switch (kind) {
    case TokenModelKind::bpe: return "BPE";
    case TokenModelKind::word_piece: return "WordPiece";
    case TokenModelKind::unigram: return "Unigram";
    case TokenModelKind::word_level: return "WordLevel";
  }
  return "";
}

std::unique_ptr<TokenModel> make_token_model(const TokenModelSpec& spec,
                                             const std::vector<bool>& never, bool raw_bytes,
                                             const std::string& what) {
  switch (spec.kind) {
    case TokenModelKind::bpe: return std::make_unique<BpeModel>(spec, never, raw_bytes, what);
    case TokenModelKind::word_piece: return std::make_unique<WordPiece>(spec, never, what);
    case TokenModelKind::unigram: return std::make_unique<Unigram>(spec, never, what);
    case TokenModelKind::word_level: return std::make_unique<WordLevel>(spec, never);
  }
  return nullptr;
}

}  // namespace moe
