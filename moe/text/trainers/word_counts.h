// SPDX-License-Identifier: MIT
// The pieces of a corpus and how often each occurs, counted by all threads from files that need not
// fit in memory.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "moe/base/json.h"

namespace moe {

struct WordCount {
  std::string text;
  uint64_t count = 0;
};

/// What is one text for the pre-tokenizer: a whole file (cut where line_cut() may cut it), or each
/// line with its line end, as the trainers of `tokenizers` read files.
enum class TextUnit { file, line };

struct CountOptions {
  Json normalizer = nullptr, pre_tokenizer = nullptr;
  TextUnit unit = TextUnit::file;
  bool raw_bytes = false;                 // pieces as bytes where the steps end in a ByteLevel
  std::vector<std::string> cut_out = {};  // texts of special tokens: no piece crosses or holds one
  /// Called from time to time with the bytes counted so far.
  std::function<void(uint64_t bytes)> progress = {};
};

class WordCounter {
 public:
  /// Throws Error for a normalizer or pre-tokenizer that is not known.
  explicit WordCounter(const CountOptions& options);
  ~WordCounter();
  void add_file(const std::string& path);
  void add_text(std::string_view text);
  /// All pieces in the order of their first occurrence: the same for any number of threads. Empties
  /// the counter.
  std::vector<WordCount> take();
  uint64_t bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace moe
