// SPDX-License-Identifier: MIT
// Learns the pieces of a Unigram model from counted words (Kudo 2018, arXiv:1804.10959, section
// 3.2): many frequent substrings at first, then turns of expectation and maximisation and of
// dropping the pieces whose loss the likelihood feels least, until the vocabulary has its size.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moe/text/trainers/word_counts.h"

namespace moe {

struct UnigramTraining {
  std::vector<WordCount> words = {};
  int64_t n_pieces = 8000;        // to end with; single characters are kept even beyond it
  int64_t max_piece_length = 16;  // characters
  int64_t n_seeds = 1'000'000;
  double shrinking_factor = 0.75;
  int64_t n_sub_iterations = 2;
  /// Called after each turn with the pieces left.
  std::function<void(int64_t pieces)> progress = {};
};

struct UnigramPiece {
  std::string text;
  double score;  // log-probability
};
/// Descending by score; the same for any number of threads.
std::vector<UnigramPiece> train_unigram(const UnigramTraining& training);

}  // namespace moe
