// SPDX-License-Identifier: MIT
// Learns the merges of byte-pair encoding from counted words: the most frequent pair of neighbours
// becomes a token, again and again (Sennrich et al. 2016, arXiv:1508.07909). Counts have 64 bits
// and include overlaps ("aaaa" has three pairs). Every occurrence of a pair is listed, so that a
// merge costs what it changes, however long words are.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moe/text/token_model.h"
#include "moe/text/trainers/word_counts.h"

namespace moe {

/// Which of equally frequent pairs merges first. Libraries differ, and results with them after some
/// dozen merges.
enum class TieRule {
  smallest_ids,  // smaller left id, then smaller right id: `tokenizers`, rustbpe
  first_seen  // the pair met first in the text as it is merged so far: minbpe, tiktoken's teacher
};
/// Which pair merges.
enum class MergeScore {
  count,      // the most frequent
  likelihood  // count(ab) / (count(a) count(b)): WordPiece as it was described first
};

struct BpeTraining {
  /// The symbols that words are made of, by id.
  std::vector<std::string> alphabet = {};
  /// Each word as symbols, in the order of first occurrence.
  struct Word {
    std::vector<TokenId> symbols;
    uint64_t count;
  };
  std::vector<Word> words = {};
  int64_t n_merges = 0;        // at most
  uint64_t min_frequency = 1;  // a pair seen less often does not merge
  TieRule tie = TieRule::smallest_ids;
  MergeScore score = MergeScore::count;
  /// The token of two; by default one text after the other.
  std::function<std::string(const std::string& left, const std::string& right)> join = {};
  /// Texts that no merge may give: those of special tokens.
  std::vector<std::string> banned = {};
  /// Called from time to time with the merges learned so far.
  std::function<void(int64_t merges)> progress = {};
};

struct BpeResult {
  std::vector<std::string> vocab = {};  // alphabet, then new tokens
  std::vector<TokenModelSpec::Merge> merges = {};
};

BpeResult train_bpe(BpeTraining training);

}  // namespace moe
