// SPDX-License-Identifier: MIT
#include "moe/text/trainers/bpe_trainer.h"

#include <algorithm>
#include <bit>
#include <queue>

#include "moe/base/error.h"
#include "moe/text/vocabulary.h"

namespace moe {
namespace {

constexpr uint32_t kNone = 0xFFFFFFFF;

/// Pairs to numbers 0, 1, 2 ...
class PairIndex {
 public:
  PairIndex() : slots_(1u << 16) {}
  uint32_t of(TokenId left, TokenId right, bool& is_new) {
    if (2 * (n_ + 1) > slots_.size()) grow();
    const uint64_t key = uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
    size_t i = place(key);
    while (slots_[i].number != kNone && slots_[i].key != key) i = (i + 1) & (slots_.size() - 1);
    is_new = slots_[i].number == kNone;
    if (is_new) slots_[i] = {key, n_++};
    return slots_[i].number;
  }

 private:
  struct Slot {
    uint64_t key = 0;
    uint32_t number = kNone;
  };
  size_t place(uint64_t key) const {
    key *= 0x9E3779B97F4A7C15u;
    return (key ^ key >> 32) & (slots_.size() - 1);
  }
  void grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& s : old) {
      if (s.number == kNone) continue;
      size_t i = place(s.key);
      while (slots_[i].number != kNone) i = (i + 1) & (slots_.size() - 1);
      slots_[i] = s;
    }
  }
  std::vector<Slot> slots_;
  uint32_t n_ = 0;
};

struct Pair {
  TokenId left = 0, right = 0;
  uint64_t count = 0;
  std::vector<uint32_t> places = {};  // of the left symbol; some are out of date
  size_t first = 0;                   // places before it are out of date
  bool ascending = true;
};

class Trainer {
 public:
  explicit Trainer(BpeTraining t) : t_(std::move(t)) {
    out_.vocab = t_.alphabet;
    if (!t_.join) t_.join = [](const std::string& a, const std::string& b) { return a + b; };
    lay_out();
  }

  BpeResult run() {
    const auto full = t_.alphabet.size() + static_cast<size_t>(t_.n_merges);
    for (size_t id = 0; id < t_.alphabet.size(); ++id)
      ids_.add(t_.alphabet[id], static_cast<TokenId>(id));
    while (out_.vocab.size() < full) {
      const uint32_t best = t_.score == MergeScore::count ? most_frequent() : most_likely();
      if (best == kNone) break;
      const std::string text = t_.join(out_.vocab[static_cast<size_t>(pairs_[best].left)],
                                       out_.vocab[static_cast<size_t>(pairs_[best].right)]);
      if (std::find(t_.banned.begin(), t_.banned.end(), text) != t_.banned.end()) {
        pairs_[best].count = 0;
        continue;
      }
      merge(best, text);
      if (t_.progress && out_.merges.size() % 64 == 0) t_.progress(std::ssize(out_.merges));
    }
    return std::move(out_);
  }

 private:
  struct Candidate {
    uint64_t count, key;
    uint32_t pair;
    bool operator<(const Candidate& b) const {  // the queue's top is the largest
      return count != b.count ? count < b.count : key > b.key;
    }
  };

  void lay_out() {
    uint64_t n = 0;
    for (const auto& word : t_.words) n += word.symbols.size();
    MOE_CHECK(n < kNone, "[tokenizer train] the different words have ", n,
              " symbols together; at most 4 billion are supported. Give less text");
    symbol_.reserve(n);
    next_.reserve(n);
    previous_.reserve(n);
    word_.reserve(n);
    symbol_count_.resize(t_.alphabet.size());
    for (size_t w = 0; w < t_.words.size(); ++w) {
      const auto& word = t_.words[w];
      counts_.push_back(word.count);
      for (size_t k = 0; k < word.symbols.size(); ++k) {
        const auto at = static_cast<uint32_t>(symbol_.size());
        symbol_.push_back(word.symbols[k]);
        previous_.push_back(k > 0 ? at - 1 : kNone);
        next_.push_back(k + 1 < word.symbols.size() ? at + 1 : kNone);
        word_.push_back(static_cast<uint32_t>(w));
        symbol_count_[static_cast<size_t>(word.symbols[k])] += word.count;
      }
    }
    std::vector<BpeTraining::Word>().swap(t_.words);
    for (uint32_t i = 0; i < symbol_.size(); ++i)
      if (next_[i] != kNone) add(i);
    for (uint32_t p = 0; p < pairs_.size(); ++p) push(p);
    touched_.clear();
  }

  uint32_t pair_of(TokenId left, TokenId right) {
    bool is_new = false;
    const uint32_t p = index_.of(left, right, is_new);
    if (is_new) {
      pairs_.push_back({left, right});
      touched_at_.push_back(0);
    }
    return p;
  }
  void add(uint32_t i) {
    const uint32_t p = pair_of(symbol_[i], symbol_[next_[i]]);
    Pair& pair = pairs_[p];
    pair.count += counts_[word_[i]];
    if (!pair.places.empty() && pair.places.back() > i) pair.ascending = false;
    pair.places.push_back(i);
    if (touched_at_[p] != step_) {
      touched_at_[p] = step_;
      touched_.push_back(p);
    }
  }
  void remove(uint32_t i) {
    Pair& pair = pairs_[pair_of(symbol_[i], symbol_[next_[i]])];
    const uint64_t n = counts_[word_[i]];
    pair.count -= std::min(pair.count, n);
  }
  bool is_at(const Pair& pair, uint32_t i) const {
    return symbol_[i] == pair.left && next_[i] != kNone && symbol_[next_[i]] == pair.right;
  }

  uint64_t tie_key(Pair& pair) {
    if (t_.tie == TieRule::smallest_ids)
      return uint64_t{static_cast<uint32_t>(pair.left)} << 32 | static_cast<uint32_t>(pair.right);
    sort(pair);
    while (pair.first < pair.places.size() && !is_at(pair, pair.places[pair.first])) ++pair.first;
    return pair.first < pair.places.size() ? pair.places[pair.first] : kNone;
  }
  void sort(Pair& pair) {
    if (!pair.ascending)
      std::sort(pair.places.begin() + static_cast<std::ptrdiff_t>(pair.first), pair.places.end());
    pair.ascending = true;
  }
  void push(uint32_t p) {
    if (t_.score == MergeScore::count && pairs_[p].count >= std::max<uint64_t>(1, t_.min_frequency))
      queue_.push({pairs_[p].count, tie_key(pairs_[p]), p});
  }

  /// An entry of the queue may be out of date: counts only fall and first places only move on after
  /// a pair was pushed, so one that is still right is the best.
  uint32_t most_frequent() {
    while (!queue_.empty()) {
      const Candidate top = queue_.top();
      queue_.pop();
      Pair& pair = pairs_[top.pair];
      if (pair.count == top.count && tie_key(pair) == top.key) return top.pair;
      if (pair.count <= top.count) push(top.pair);
    }
    return kNone;
  }

  uint32_t most_likely() const {
    uint32_t best = kNone;
    double best_score = 0;
    for (uint32_t p = 0; p < pairs_.size(); ++p) {
      const Pair& pair = pairs_[p];
      if (pair.count < std::max<uint64_t>(1, t_.min_frequency)) continue;
      const double score = double(pair.count) /
                           double(symbol_count_[static_cast<size_t>(pair.left)]) /
                           double(symbol_count_[static_cast<size_t>(pair.right)]);
      const bool first = best == kNone || std::pair(pair.left, pair.right) <
                                              std::pair(pairs_[best].left, pairs_[best].right);
      if (score > best_score || (score == best_score && first)) {
        best = p;
        best_score = score;
      }
    }
    return best;
  }

  void merge(uint32_t p, const std::string& text) {
    const TokenId left = pairs_[p].left, right = pairs_[p].right;
    // A text that comes about in a second way (possible where tokens have a prefix) is the same
    // token.
    const bool is_new = ids_.add(text, static_cast<TokenId>(out_.vocab.size()));
    const TokenId id = ids_.find(text);
    if (is_new) {
      out_.vocab.push_back(text);
      symbol_count_.push_back(0);
    }
    out_.merges.push_back({left, right, id});
    ++step_;
    sort(pairs_[p]);
    const std::vector<uint32_t> places = std::move(pairs_[p].places);
    pairs_[p].places.clear();
    const size_t first = pairs_[p].first;
    pairs_[p].first = 0;
    pairs_[p].count = 0;
    for (size_t k = first; k < places.size(); ++k) {
      const uint32_t i = places[k];
      if (symbol_[i] != left || next_[i] == kNone || symbol_[next_[i]] != right) continue;
      const uint32_t j = next_[i], before = previous_[i], after = next_[j];
      const uint64_t n = counts_[word_[i]];
      if (before != kNone) remove(before);
      if (after != kNone) remove(j);
      symbol_count_[static_cast<size_t>(left)] -= n;
      symbol_count_[static_cast<size_t>(right)] -= n;
      symbol_count_[static_cast<size_t>(id)] += n;
      symbol_[i] = id;
      symbol_[j] = -1;
      next_[i] = after;
      if (after != kNone) previous_[after] = i;
      if (before != kNone) add(before);
      if (after != kNone) add(i);
    }
    pairs_[p].count = 0;  // overlapping occurrences went with their neighbours
    for (const uint32_t q : touched_) push(q);
    touched_.clear();
  }

  BpeTraining t_;
  BpeResult out_;
  StringIds ids_;
  // By place: a linked list of each word's symbols.
  std::vector<TokenId> symbol_;
  std::vector<uint32_t> next_, previous_, word_;
  std::vector<uint64_t> counts_;        // by word
  std::vector<uint64_t> symbol_count_;  // by symbol, occurrences
  PairIndex index_;
  std::vector<Pair> pairs_;
  std::vector<uint64_t> touched_at_;  // by pair: the step that last added to it
  std::vector<uint32_t> touched_;
  uint64_t step_ = 1;
  std::priority_queue<Candidate> queue_;
};

}  // namespace

BpeResult train_bpe(BpeTraining training) { return Trainer(std::move(training)).run(); }

}  // namespace moe
