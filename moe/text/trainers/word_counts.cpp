// SPDX-License-Identifier: MIT
#include "moe/text/trainers/word_counts.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "moe/base/error.h"
#include "moe/base/mmap_file.h"
#include "moe/base/parallel.h"
#include "moe/text/added_tokens.h"
#include "moe/text/encode_batch.h"
#include "moe/text/normalizer.h"
#include "moe/text/pre_tokenizer.h"
#include "moe/text/vocabulary.h"

namespace moe {
namespace {

/// Counts by text, each with its first place: an open-addressing table over an arena.
class CountTable {
 public:
  CountTable() : slots_(1024) {}

  void add(std::string_view text, uint64_t hash, uint64_t count, uint64_t place) {
    if (2 * (n_ + 1) > slots_.size()) grow();
    const size_t mask = slots_.size() - 1;
    size_t i = hash & mask;
    for (; slots_[i].count > 0; i = (i + 1) & mask) {
      Slot& s = slots_[i];
      if (s.hash == hash && s.size == text.size() &&
          std::memcmp(arena_.data() + s.offset, text.data(), text.size()) == 0) {
        s.count += count;
        s.place = std::min(s.place, place);
        return;
      }
    }
    MOE_CHECK(text.size() < (uint64_t{1} << 32), "[tokenizer] a piece of 4 GiB");
    slots_[i] = {hash, arena_.size(), count, place, static_cast<uint32_t>(text.size())};
    arena_ += text;
    ++n_;
  }
  /// f(text, hash, count, place)
  template <class F>
  void for_each(F&& f) const {
    for (const Slot& s : slots_)
      if (s.count > 0)
        f(std::string_view(arena_).substr(s.offset, s.size), s.hash, s.count, s.place);
  }
  size_t size() const { return n_; }

 private:
  struct Slot {
    uint64_t hash = 0, offset = 0, count = 0, place = 0;
    uint32_t size = 0;
  };
  void grow() {
    std::vector<Slot> old(slots_.size() * 2);
    old.swap(slots_);
    const size_t mask = slots_.size() - 1;
    for (const Slot& s : old) {
      if (s.count == 0) continue;
      size_t i = s.hash & mask;
      while (slots_[i].count > 0) i = (i + 1) & mask;
      slots_[i] = s;
    }
  }

  std::string arena_;
  std::vector<Slot> slots_;
  size_t n_ = 0;
};

// Read, cut and count this much at a time for each thread.
constexpr size_t kPart = size_t{1} << 20;
// Where a file is one text and offers no place to cut (a line of gigabytes), it is cut here all the
// same; the piece at the cut is then two.
constexpr size_t kLongestPart = size_t{64} << 20;

}  // namespace

struct WordCounter::State {
  CountOptions options;
  std::unique_ptr<Normalizer> normalizer;
  PreTokenizerSteps steps;
  PieceScanner scan = nullptr;
  std::unique_ptr<AddedTokenFinder> cut_out;
  std::vector<CountTable> tables;  // one for each thread
  uint64_t bytes = 0;

  /// place: of the text's begin in the corpus; the order of pieces follows it.
  void count(std::string_view text, uint64_t place, CountTable& table) const {
    if (!cut_out->empty()) {
      cut_out->split(
          text, SpecialTokens::parse,
          [&](std::string_view part, size_t begin) { count_part(part, place + begin, table); },
          [](TokenId) {});
      return;
    }
    count_part(text, place, table);
  }

  void count_part(std::string_view text, uint64_t place, CountTable& table) const {
    std::string normalized;
    if (normalizer) {
      normalized = text;
      normalizer->apply(normalized);
      text = normalized;
    }
    // Places grow along the text, though a normalised piece may not lie where it came from.
    if (scan) {
      for (size_t begin = 0; begin < text.size();) {
        const size_t end = scan(text, begin);
        const std::string_view piece = text.substr(begin, end - begin);
        table.add(piece, hash_bytes(piece), 1, place + begin);
        begin = end;
      }
      return;
    }
    Pieces pieces;
    pieces.list = {text};
    if (text.empty()) return;
    steps.split(pieces);
    uint64_t n = 0;
    for (const std::string_view piece : pieces.list)
      table.add(piece, hash_bytes(piece), 1, place + std::min<uint64_t>(n++, text.size() - 1));
  }
};

WordCounter::WordCounter(const CountOptions& options) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.options = options;
  const std::string what = "[tokenizer train]";
  s.normalizer = make_normalizer(options.normalizer, what);
  s.steps = make_pre_tokenizer(options.pre_tokenizer, what);
  if (options.raw_bytes && s.steps.ends_in_bytes) {
    s.steps.steps.pop_back();
    if (s.steps.steps.size() == 1) s.scan = s.steps.steps[0]->scanner();
  }
  std::vector<AddedToken> tokens;
  for (const std::string& text : options.cut_out) tokens.push_back({.content = text});
  s.cut_out = std::make_unique<AddedTokenFinder>(std::move(tokens), options.cut_out);
  s.tables.resize(static_cast<size_t>(n_threads()));
}

WordCounter::~WordCounter() = default;

uint64_t WordCounter::bytes() const { return state_->bytes; }

void WordCounter::add_file(const std::string& path) {
  const MmapFile file(path);
  add_text({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
}

void WordCounter::add_text(std::string_view text) {
  State& s = *state_;
  const auto end_of_part = [&](size_t begin) {
    if (begin + kPart >= text.size()) return text.size();
    if (s.options.unit == TextUnit::line) {
      const size_t end = text.find('\n', begin + kPart);
      return end == std::string_view::npos ? text.size() : end + 1;
    }
    const size_t end = line_cut(text, begin + kPart);
    return end - begin <= kLongestPart ? end : begin + kLongestPart;
  };
  std::vector<std::string_view> parts;
  for (size_t begin = 0; begin < text.size();) {
    parts.clear();
    const size_t first = begin;
    while (parts.size() < 4 * s.tables.size() && begin < text.size()) {
      const size_t end = end_of_part(begin);
      parts.push_back(text.substr(begin, end - begin));
      begin = end;
    }
    parallel_for(std::ssize(parts), 1, [&](int64_t from, int64_t to, int thread) {
      CountTable& table = s.tables[static_cast<size_t>(thread)];
      for (int64_t p = from; p < to; ++p) {
        const std::string_view part = parts[static_cast<size_t>(p)];
        const uint64_t place =
            s.bytes + first + static_cast<uint64_t>(part.data() - parts[0].data());
        if (s.options.unit == TextUnit::file) {
          s.count(part, place, table);
          continue;
        }
        for (size_t i = 0; i < part.size();) {
          const size_t end = std::min(part.find('\n', i), part.size() - 1) + 1;
          s.count(part.substr(i, end - i), place + i, table);
          i = end;
        }
      }
    });
    if (s.options.progress) s.options.progress(s.bytes + begin);
  }
  s.bytes += text.size();
}

std::vector<WordCount> WordCounter::take() {
  State& s = *state_;
  CountTable all = std::move(s.tables[0]);
  for (size_t t = 1; t < s.tables.size(); ++t)
    s.tables[t].for_each([&](std::string_view text, uint64_t hash, uint64_t count, uint64_t place) {
      all.add(text, hash, count, place);
    });
  s.tables.clear();
  s.tables.resize(static_cast<size_t>(n_threads()));
  struct Entry {
    uint64_t place, count;
    std::string_view text;
  };
  std::vector<Entry> entries;
  entries.reserve(all.size());
  all.for_each([&](std::string_view text, uint64_t, uint64_t count, uint64_t place) {
    entries.push_back({place, count, text});
  });
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.place != b.place ? a.place < b.place : a.text < b.text;
  });
  std::vector<WordCount> out;
  out.reserve(entries.size());
  for (const Entry& e : entries) out.push_back({std::string(e.text), e.count});
  return out;
}

}  // namespace moe
