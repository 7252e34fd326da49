// SPDX-License-Identifier: MIT
// Byte-pair encoding of one piece: the adjacent pair of lowest rank merges first, the leftmost of
// equals. O(n log r) for n symbols and r different ranks, so that a piece of megabytes is no
// problem.
#pragma once

#include <array>
#include <atomic>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "moe/text/token_model.h"
#include "moe/text/vocabulary.h"

namespace moe {

class BpeModel : public TokenModel {
 public:
  BpeModel(const TokenModelSpec& spec, const std::vector<bool>& never, bool raw_bytes,
           const std::string& what);
  ~BpeModel() override;
  void encode(std::string_view piece, std::vector<TokenId>& out) const override;

 private:
  struct Rule {
    uint64_t pair = ~uint64_t{0};
    uint32_t rank = 0;
    TokenId result = -1;
  };
  struct Cache;

  const Rule* rule(TokenId left, TokenId right) const;
  TokenId whole_piece(std::string_view piece, uint64_t hash) const;
  void first_symbols(std::string_view piece, std::vector<TokenId>& symbols) const;
  /// The pair that an unused token is cut into again: as in SentencePiece, the last pair of the
  /// text that could have become it.
  using Halves = std::unordered_map<TokenId, std::pair<TokenId, TokenId>>;
  void merge(std::vector<TokenId>& symbols) const;
  void merge_few(std::vector<TokenId>& symbols, Halves& halves) const;
  void merge_many(std::vector<TokenId>& symbols, Halves& halves) const;
  void note_halves(const Rule& r, TokenId left, TokenId right, Halves& halves) const;
  void cut_unused(std::vector<TokenId>& symbols, const Halves& halves) const;
  bool is_unused(TokenId id) const { return !unused_.empty() && unused_.contains(id); }
  bool add_bytes(std::string_view character, std::vector<TokenId>& symbols) const;
  void add_unknown(std::vector<TokenId>& symbols, bool& pending) const;
  Cache& thread_cache() const;

  bool raw_bytes_, ignore_merges_, fuse_unk_, byte_fallback_;
  std::optional<TokenId> unk_id_;
  std::string prefix_, suffix_;
  std::array<TokenId, 256> byte_ids_;  // of a byte, or of its fallback token
  StringIds vocab_;
  std::vector<Rule> rules_;
  Trie user_defined_;
  bool has_user_defined_ = false;
  // What stands for an unused token that has no halves: the bytes of its character or the unknown.
  std::unordered_map<TokenId, std::vector<TokenId>> unused_;
  // Whether the merges of a token's text give that token: 0 not known yet, 1 yes, 2 no.
  mutable std::vector<std::atomic<uint8_t>> reachable_;
  uint64_t serial_;  // of this model among all, for the threads' caches
};

}  // namespace moe
