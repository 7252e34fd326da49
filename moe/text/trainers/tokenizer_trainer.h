// SPDX-License-Identifier: MIT
// From text files to a tokenizer: counts pieces, learns tokens, puts the parts together.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moe/text/tokenizer_spec.h"
#include "moe/text/trainers/bpe_trainer.h"

namespace moe {

struct TokenizerTraining {
  std::string type = "bpe";   // bpe, wordpiece, unigram, char, byte
  int64_t vocab_size = 8192;  // special tokens and alphabet included
  uint64_t min_frequency = 0;
  std::vector<std::string> special_tokens = {std::string(kEndOfText)};
  std::string pattern = "gpt2";  // bpe: a name of piece_scanner.h, or a regular expression
  /// bpe: hf, rustbpe, minbpe or tiktoken. hf: ids as `tokenizers` gives them (special tokens,
  /// bytes by their spelling, merges); the others: bytes by their values, merges, special tokens.
  std::string tie = "hf";
  bool lowercase = false;   // wordpiece: lower case, accents dropped
  bool likelihood = false;  // wordpiece: the pair of highest likelihood and not the most frequent
  bool byte_fallback = false;  // unigram: 256 byte pieces, so that no text is unknown
  bool by_line = false;        // bpe: each line is a text of its own, as `tokenizers` reads files
  std::vector<std::string> files = {};
  /// stage: "reading", "learning"; done and all in bytes or tokens.
  std::function<void(const char* stage, double done, double all)> progress = {};
};

struct TrainedTokenizer {
  std::unique_ptr<Tokenizer> tokenizer = {};
  uint64_t bytes = 0;   // of text
  int64_t n_words = 0;  // different pieces
};

/// Throws Error that names the file or the option which is wrong.
TrainedTokenizer train_tokenizer(const TokenizerTraining& training);

}  // namespace moe
