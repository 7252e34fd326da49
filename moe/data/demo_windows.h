// SPDX-License-Identifier: MIT
// The demo corpus as windows: filled with samples, each a sequence of its own, the last one cut at
// seq_len. A model is trained on the answers, and on the prompts of every eighth sample only: what
// a prompt draws at random cannot be foretold, and learning from all of it is slow (one trial, 1.5
// M parameters, 168,000 tokens: 0 % of the strings right with all prompts, 15 % with none). An
// eighth remains so that the model can write samples of its own.
#pragma once

#include <memory>

#include "moe/data/demo_corpus.h"
#include "moe/data/windows.h"

namespace moe {

class DemoWindows : public Windows {
 public:
  /// n_windows: the corpus is endless, so the caller says where counting stops, at most kEndless.
  DemoWindows(uint64_t seed, Split split, std::shared_ptr<const Tokenizer> tokenizer,
              int64_t seq_len, int64_t n_windows);
  int64_t count() const override { return n_windows_; }
  void append(int64_t w, int64_t first_token_index, Batch& batch) const override;

  /// With seq_len at most 2^20, sample numbers stay below 2^60.
  static constexpr int64_t kEndless = int64_t{1} << 40;

 private:
  DemoCorpus corpus_;
  Split split_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  int64_t seq_len_;
  int64_t n_windows_;
};

}  // namespace moe
