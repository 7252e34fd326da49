// SPDX-License-Identifier: MIT
#include "moe/text/vocabulary.h"

#include <bit>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "moe/base/error.h"

namespace moe {
namespace {

constexpr int kSizeBits = 24;

uint64_t mix(uint64_t key) {
  key *= 0x9E3779B97F4A7C15u;  // 2^64 / golden ratio (Knuth, multiplicative hashing)
  return key ^ key >> 32;
}

}  // namespace

uint64_t hash_bytes(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

StringIds::StringIds(size_t expected) : slots_(std::bit_ceil(std::max<size_t>(16, expected * 2))) {}

bool StringIds::add(std::string_view text, TokenId id) {
  MOE_CHECK(text.size() < (size_t{1} << kSizeBits), "[tokenizer] a token of ", text.size(),
            " bytes; at most 16 MiB are supported");
  if (2 * (n_ + 1) > slots_.size()) grow();
  const uint64_t hash = hash_bytes(text);
  if (find(text, hash) >= 0) return false;
  size_t i = hash & (slots_.size() - 1);
  while (slots_[i].id >= 0) i = (i + 1) & (slots_.size() - 1);
  slots_[i] = {bytes_.size() << kSizeBits | text.size(), static_cast<uint32_t>(hash >> 32), id};
  bytes_ += text;
  ++n_;
  return true;
}

TokenId StringIds::find(std::string_view text, uint64_t hash) const {
  const size_t mask = slots_.size() - 1;
  const auto tag = static_cast<uint32_t>(hash >> 32);
  for (size_t i = hash & mask; slots_[i].id >= 0; i = (i + 1) & mask) {
    const Slot& s = slots_[i];
    if (s.tag != tag || (s.offset_and_size & ((1u << kSizeBits) - 1)) != text.size()) continue;
    if (std::memcmp(bytes_.data() + (s.offset_and_size >> kSizeBits), text.data(), text.size()) ==
        0)
      return s.id;
  }
  return -1;
}

void StringIds::grow() {
  std::vector<Slot> old(slots_.size() * 2);
  old.swap(slots_);
  for (const Slot& s : old) {
    if (s.id < 0) continue;
    const std::string_view text(bytes_.data() + (s.offset_and_size >> kSizeBits),
                                s.offset_and_size & ((1u << kSizeBits) - 1));
    size_t i = hash_bytes(text) & (slots_.size() - 1);
    while (slots_[i].id >= 0) i = (i + 1) & (slots_.size() - 1);
    slots_[i] = s;
  }
}

Trie::Trie() : edges_(64) {}

void Trie::add(std::string_view text, int32_t value) {
  uint32_t node = 0;
  for (const char b : text) {
    if (2 * values_.size() > edges_.size()) grow();
    bool is_new = false;
    uint32_t& child = edge(uint64_t{node} << 8 | static_cast<uint8_t>(b), is_new);
    if (is_new) {
      child = static_cast<uint32_t>(values_.size());
      values_.push_back(-1);
    }
    node = child;
  }
  if (values_[node] < 0) values_[node] = value;
}

uint32_t Trie::child(uint32_t node, uint8_t byte) const {
  const uint64_t key = uint64_t{node} << 8 | byte;
  const size_t mask = edges_.size() - 1;
  for (size_t i = mix(key) & mask; edges_[i].child != 0; i = (i + 1) & mask)
    if (edges_[i].key == key) return edges_[i].child;
  return 0;
}

std::pair<int32_t, size_t> Trie::longest(std::string_view text, size_t from) const {
  std::pair<int32_t, size_t> found{-1, 0};
  uint32_t node = 0;
  for (size_t i = from; i < text.size(); ++i) {
    node = child(node, static_cast<uint8_t>(text[i]));
    if (node == 0) break;
    if (value(node) >= 0) found = {value(node), i + 1 - from};
  }
  return found;
}

uint32_t& Trie::edge(uint64_t key, bool& is_new) {
  const size_t mask = edges_.size() - 1;
  size_t i = mix(key) & mask;
  for (; edges_[i].child != 0; i = (i + 1) & mask)
    if (edges_[i].key == key) return edges_[i].child;
  is_new = true;
  edges_[i].key = key;
  return edges_[i].child;
}

void Trie::grow() {
  std::vector<Edge> old(edges_.size() * 2);
  old.swap(edges_);
  for (const Edge& e : old) {
    bool is_new = false;
    if (e.child != 0) edge(e.key, is_new) = e.child;
  }
}

}  // namespace moe
