// SPDX-License-Identifier: MIT
// Two tables that encoding walks through for every piece of text: strings to ids, and a trie for
// prefixes. Open addressing, built once, read by many threads.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "moe/text/tokenizer.h"

namespace moe {

/// 64 bits of a string, well mixed; the same on every machine.
uint64_t hash_bytes(std::string_view bytes);

/// Strings with an id each. Ids are >= 0.
class StringIds {
 public:
  explicit StringIds(size_t expected = 0);
  /// False, and nothing changes, when the string is there already.
  bool add(std::string_view text, TokenId id);
  /// -1 when it is not there.
  TokenId find(std::string_view text) const { return find(text, hash_bytes(text)); }
  TokenId find(std::string_view text, uint64_t hash) const;
  size_t size() const { return n_; }

 private:
  struct Slot {
    uint64_t offset_and_size = 0;  // size in the low 24 bits
    uint32_t tag = 0;
    TokenId id = -1;
  };
  void grow();

  std::string bytes_;
  std::vector<Slot> slots_;
  size_t n_ = 0;
};

/// Strings by their prefixes.
class Trie {
 public:
  Trie();
  /// The first value that a string was given stays. value >= 0.
  void add(std::string_view text, int32_t value);
  /// From node, along byte: the next node, or 0 when there is none (0 is the root).
  uint32_t child(uint32_t node, uint8_t byte) const;
  /// -1 when no string ends there.
  int32_t value(uint32_t node) const { return values_[node]; }
  /// The longest string that text begins with from here on: its value and size; -1 and 0 when none.
  std::pair<int32_t, size_t> longest(std::string_view text, size_t from) const;

 private:
  struct Edge {
    uint64_t key = ~uint64_t{0};  // node * 256 + byte
    uint32_t child = 0;
  };
  uint32_t& edge(uint64_t key, bool& is_new);
  void grow();

  std::vector<Edge> edges_;
  std::vector<int32_t> values_ = {-1};
};

}  // namespace moe
