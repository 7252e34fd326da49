// SPDX-License-Identifier: MIT
#include "moe/text/bpe_model.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <queue>

#include "moe/base/error.h"
#include "moe/text/byte_alphabet.h"
#include "moe/text/token_decoder.h"
#include "moe/text/unicode.h"

namespace moe {
namespace {

// Up to here the pair of lowest rank is searched anew after each merge; beyond it a queue is
// faster.
constexpr size_t kFewSymbols = 64;

uint64_t pair_key(TokenId left, TokenId right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}
uint64_t mix(uint64_t key) {
  key *= 0x9E3779B97F4A7C15u;
  return key ^ key >> 29;
}

std::atomic<uint64_t> next_serial{1};

}  // namespace

/// What pieces became that are no token by themselves. One for each thread, for the model that the
/// thread used last: words repeat (Zipf), and a hit costs a tenth of the merges.
struct BpeModel::Cache {
  static constexpr size_t kEntries = size_t{1} << 14, kMaxBytes = 27, kMaxIds = 8;
  struct Entry {
    uint64_t hash = 0;
    uint8_t n_ids = 0, n_bytes = 0;
    char bytes[kMaxBytes] = {};
    TokenId ids[kMaxIds] = {};
  };
  uint64_t serial = 0;
  std::vector<Entry> entries = {};
  std::vector<TokenId> symbols = {};

  Entry& at(uint64_t hash) { return entries[hash >> 32 & (kEntries - 1)]; }
};

BpeModel::Cache& BpeModel::thread_cache() const {
  thread_local Cache cache;
  if (cache.serial != serial_) {
    cache.serial = serial_;
    cache.entries.assign(Cache::kEntries, {});
  }
  return cache;
}

BpeModel::BpeModel(const TokenModelSpec& spec, const std::vector<bool>& never, bool raw_bytes,
                   const std::string& what)
    : raw_bytes_(raw_bytes),
      ignore_merges_(spec.ignore_merges),
      fuse_unk_(spec.fuse_unk),
      byte_fallback_(spec.byte_fallback && !raw_bytes),
      unk_id_(spec.unk_id),
      prefix_(spec.continuing_subword_prefix),
      suffix_(spec.end_of_word_suffix),
      vocab_(spec.vocab.size()),
      rules_(std::bit_ceil(std::max<size_t>(16, spec.merges.size() * 2))),
      reachable_(spec.vocab.size()),
      serial_(next_serial++) {
  const auto is_never = [&](TokenId id) {
    return static_cast<size_t>(id) < never.size() && never[static_cast<size_t>(id)];
  };
  byte_ids_.fill(-1);
  for (size_t i = 0; i < spec.vocab.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    const std::string& text = spec.vocab[i];
    if (text.empty() || is_never(id)) continue;
    if (!raw_bytes_) {
      vocab_.add(text, id);
      const int byte = byte_fallback_ ? byte_of_fallback_token(text) : -1;
      if (byte >= 0) byte_ids_[static_cast<size_t>(byte)] = id;
    } else if (const auto bytes = bytes_of_spelling(text)) {
      vocab_.add(*bytes, id);
      if (bytes->size() == 1) byte_ids_[static_cast<uint8_t>(bytes->front())] = id;
    }
  }
  std::vector<bool> is_whole(spec.vocab.size());
  for (const TokenId id : spec.user_defined) {
    is_whole[static_cast<size_t>(id)] = true;
    user_defined_.add(spec.vocab[static_cast<size_t>(id)], id);
    has_user_defined_ = true;
  }
  for (const TokenId id : spec.unused) {
    std::vector<TokenId>& ids = unused_[id];
    if (!add_bytes(spec.vocab[static_cast<size_t>(id)], ids) && unk_id_) ids.push_back(*unk_id_);
  }
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
    const auto& [left, right, result] = spec.merges[rank];
    MOE_CHECK(rank < 0xFFFFFFFFu, what, ": too many merges");
    if (is_never(result) || is_whole[static_cast<size_t>(left)] ||
        is_whole[static_cast<size_t>(right)])
      continue;
    const uint64_t key = pair_key(left, right);
    size_t i = mix(key) & (rules_.size() - 1);
    while (rules_[i].result >= 0 && rules_[i].pair != key) i = (i + 1) & (rules_.size() - 1);
    // Listed twice, the later line counts, as in the library's table.
    rules_[i] = {key, spec.ranks.empty() ? static_cast<uint32_t>(rank) : spec.ranks[rank], result};
  }
}

BpeModel::~BpeModel() = default;

const BpeModel::Rule* BpeModel::rule(TokenId left, TokenId right) const {
  const uint64_t key = pair_key(left, right);
  const size_t mask = rules_.size() - 1;
  for (size_t i = mix(key) & mask; rules_[i].result >= 0; i = (i + 1) & mask)
    if (rules_[i].pair == key) return &rules_[i];
  return nullptr;
}

void BpeModel::encode(std::string_view piece, std::vector<TokenId>& out) const {
  if (piece.size() == 1 && raw_bytes_) {
    const TokenId id = byte_ids_[static_cast<uint8_t>(piece[0])];
    if (id >= 0) {
      out.push_back(id);
      return;
    }
  }
  const uint64_t hash = hash_bytes(piece);
  if (const TokenId id = whole_piece(piece, hash); id >= 0) {
    out.push_back(id);
    return;
  }
  Cache& cache = thread_cache();
  Cache::Entry& entry = cache.at(hash);
  const bool fits = piece.size() <= Cache::kMaxBytes;
  if (fits && entry.hash == hash && entry.n_bytes == piece.size() &&
      std::memcmp(entry.bytes, piece.data(), piece.size()) == 0) {
    out.insert(out.end(), entry.ids, entry.ids + entry.n_ids);
    return;
  }
  std::vector<TokenId>& symbols = cache.symbols;
  symbols.clear();
  first_symbols(piece, symbols);
  merge(symbols);
  out.insert(out.end(), symbols.begin(), symbols.end());
  if (fits && symbols.size() <= Cache::kMaxIds) {
    entry.hash = hash;
    entry.n_bytes = static_cast<uint8_t>(piece.size());
    entry.n_ids = static_cast<uint8_t>(symbols.size());
    std::copy(piece.begin(), piece.end(), entry.bytes);
    std::copy(symbols.begin(), symbols.end(), entry.ids);
  }
  if (symbols.capacity() > (size_t{1} << 20)) std::vector<TokenId>().swap(symbols);
}

TokenId BpeModel::whole_piece(std::string_view piece, uint64_t hash) const {
  const TokenId id = vocab_.find(piece, hash);
  if (id < 0 || ignore_merges_) return id;
  std::atomic<uint8_t>& state = reachable_[static_cast<size_t>(id)];
  uint8_t known = state.load(std::memory_order_relaxed);
  if (known == 0) {
    std::vector<TokenId> symbols;
    first_symbols(piece, symbols);
    merge(symbols);
    known = symbols.size() == 1 && symbols[0] == id ? 1 : 2;
    state.store(known, std::memory_order_relaxed);
  }
  return known == 1 ? id : -1;
}

void BpeModel::first_symbols(std::string_view piece, std::vector<TokenId>& symbols) const {
  symbols.reserve(piece.size());
  bool pending = false;  // an unknown character waits for more of them
  if (raw_bytes_) {
    for (const char b : piece) {
      const TokenId id = byte_ids_[static_cast<uint8_t>(b)];
      if (id >= 0) {
        if (pending) symbols.push_back(*unk_id_), pending = false;
        symbols.push_back(id);
      } else {
        add_unknown(symbols, pending);
      }
    }
  } else {
    for (size_t i = 0; i < piece.size();) {
      if (has_user_defined_) {
        if (const auto [id, size] = user_defined_.longest(piece, i); id >= 0) {
          if (pending) symbols.push_back(*unk_id_), pending = false;
          symbols.push_back(id);
          i += size;
          continue;
        }
      }
      const size_t size = code_point_at(piece, i).size;
      const std::string_view character = piece.substr(i, size);
      const bool first = i == 0, last = i + size == piece.size();
      TokenId id;
      if ((first || prefix_.empty()) && (!last || suffix_.empty()))
        id = vocab_.find(character);
      else
        id = vocab_.find(str(first ? "" : prefix_, character, last ? suffix_ : ""));
      i += size;
      if (id >= 0) {
        if (pending) symbols.push_back(*unk_id_), pending = false;
        symbols.push_back(id);
        continue;
      }
      if (!add_bytes(character, symbols)) add_unknown(symbols, pending);
    }
  }
  if (pending) symbols.push_back(*unk_id_);
}

/// The fallback tokens of the character's bytes, when the vocabulary has them all.
bool BpeModel::add_bytes(std::string_view character, std::vector<TokenId>& symbols) const {
  const auto known = [&](char b) { return byte_ids_[static_cast<uint8_t>(b)] >= 0; };
  if (!byte_fallback_ || !std::all_of(character.begin(), character.end(), known)) return false;
  for (const char b : character) symbols.push_back(byte_ids_[static_cast<uint8_t>(b)]);
  return true;
}

void BpeModel::add_unknown(std::vector<TokenId>& symbols, bool& pending) const {
  if (!unk_id_) return;  // dropped, as the library does
  if (pending && !fuse_unk_) symbols.push_back(*unk_id_);
  pending = true;
}

void BpeModel::merge(std::vector<TokenId>& symbols) const {
  Halves halves;
  if (symbols.size() > kFewSymbols)
    merge_many(symbols, halves);
  else if (symbols.size() >= 2)
    merge_few(symbols, halves);
  if (!unused_.empty()) cut_unused(symbols, halves);
}

void BpeModel::note_halves(const Rule& r, TokenId left, TokenId right, Halves& halves) const {
  // A right half that is only the prefix of continuations adds nothing: the result is the left one.
  if (is_unused(r.result) && r.result != left) halves[r.result] = {left, right};
}

void BpeModel::cut_unused(std::vector<TokenId>& symbols, const Halves& halves) const {
  std::vector<TokenId> left(symbols.rbegin(),
                            symbols.rend());  // still to be looked at, from the end
  symbols.clear();
  while (!left.empty()) {
    const TokenId id = left.back();
    left.pop_back();
    if (const auto cut = halves.find(id); cut != halves.end()) {
      left.push_back(cut->second.second);
      left.push_back(cut->second.first);
    } else if (const auto one = unused_.find(id); one != unused_.end()) {
      symbols.insert(symbols.end(), one->second.begin(), one->second.end());
    } else {
      symbols.push_back(id);
    }
  }
  const auto both_unknown = [&](TokenId a, TokenId b) { return a == b && a == unk_id_; };
  if (fuse_unk_)
    symbols.erase(std::unique(symbols.begin(), symbols.end(), both_unknown), symbols.end());
}

void BpeModel::merge_few(std::vector<TokenId>& symbols, Halves& halves) const {
  constexpr uint32_t kNone = 0xFFFFFFFF;
  uint32_t ranks[kFewSymbols];
  TokenId results[kFewSymbols];
  size_t n = symbols.size();
  const auto look_up = [&](size_t i) {
    const Rule* r = i + 1 < n ? rule(symbols[i], symbols[i + 1]) : nullptr;
    ranks[i] = r ? r->rank : kNone;
    results[i] = r ? r->result : -1;
    if (r) note_halves(*r, symbols[i], symbols[i + 1], halves);
  };
  for (size_t i = 0; i < n; ++i) look_up(i);
  for (;;) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i)
      if (ranks[i] < ranks[best]) best = i;
    if (n < 2 || ranks[best] == kNone) break;
    symbols[best] = results[best];
    for (size_t i = best + 1; i + 1 < n; ++i) {
      symbols[i] = symbols[i + 1];
      ranks[i] = ranks[i + 1];
      results[i] = results[i + 1];
    }
    --n;
    if (best > 0) look_up(best - 1);
    look_up(best);
  }
  symbols.resize(n);
}

void BpeModel::merge_many(std::vector<TokenId>& symbols, Halves& halves) const {
  // A bucket of places for each rank, the ranks in a heap: texts have few different pairs, so
  // almost every step is at the end of a list. Symbols are a linked list over their first places;
  // an entry whose pair has changed since is recognised by the rank that the pair has now.
  constexpr uint32_t kEnd = 0xFFFFFFFF;
  constexpr TokenId kGone = -1;
  using MinHeap = std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>>;
  struct Bucket {
    std::vector<uint32_t> places = {};  // ascending once the bucket is open
    size_t next = 0;
    MinHeap late = {};  // came when it was open: a list whose order is not that of its making
    bool open = false, ascending = true;
  };
  MOE_CHECK(symbols.size() < kEnd, "[tokenizer] a piece of ", symbols.size(), " symbols");
  const auto n = static_cast<uint32_t>(symbols.size());
  std::vector<uint32_t> next(n), previous(n);
  for (uint32_t i = 0; i < n; ++i) {
    next[i] = i + 1 < n ? i + 1 : kEnd;
    previous[i] = i > 0 ? i - 1 : kEnd;
  }
  std::unordered_map<uint32_t, Bucket> buckets;
  MinHeap ranks;
  uint32_t last_rank = kEnd;
  Bucket* last = nullptr;  // most pairs have the rank of the one before
  const auto note = [&](uint32_t i) {
    if (next[i] == kEnd) return;
    const Rule* r = rule(symbols[i], symbols[next[i]]);
    if (!r) return;
    note_halves(*r, symbols[i], symbols[next[i]], halves);
    if (!last || r->rank != last_rank) {
      const auto [found, is_new] = buckets.try_emplace(r->rank);
      if (is_new) ranks.push(r->rank);
      last_rank = r->rank;
      last = &found->second;
    }
    if (last->open) {
      last->late.push(i);
      return;
    }
    if (!last->places.empty() && last->places.back() > i) last->ascending = false;
    last->places.push_back(i);
  };
  for (uint32_t i = 0; i < n; ++i) note(i);
  while (!ranks.empty()) {
    const uint32_t rank = ranks.top();
    Bucket& bucket = buckets.at(rank);
    if (!bucket.ascending) std::sort(bucket.places.begin(), bucket.places.end());
    bucket.open = bucket.ascending = true;
    while (ranks.top() == rank) {
      const bool listed = bucket.next < bucket.places.size();
      if (!listed && bucket.late.empty()) {
        ranks.pop();
        last = nullptr;
        buckets.erase(rank);
        break;
      }
      uint32_t i;
      if (listed && (bucket.late.empty() || bucket.places[bucket.next] < bucket.late.top())) {
        i = bucket.places[bucket.next++];
      } else {
        i = bucket.late.top();
        bucket.late.pop();
      }
      const uint32_t j = symbols[i] == kGone ? kEnd : next[i];
      if (j == kEnd) continue;
      const Rule* now = rule(symbols[i], symbols[j]);
      if (!now || now->rank != rank) continue;
      symbols[i] = now->result;
      symbols[j] = kGone;
      next[i] = next[j];
      if (next[i] != kEnd) previous[next[i]] = i;
      if (previous[i] != kEnd) note(previous[i]);
      note(i);
    }
  }
  std::erase(symbols, kGone);
}

}  // namespace moe
