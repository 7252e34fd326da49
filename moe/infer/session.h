// SPDX-License-Identifier: MIT
// A model with a cache: feed the next tokens of some sequences, get the logits after each one's
// last token.
#pragma once

#include <vector>

#include "moe/infer/kv_cache.h"
#include "moe/nn/transformer_lm.h"

namespace moe {

class DecodeSession {
 public:
  /// chunk_tokens: at most so many tokens run in one forward pass; longer inputs are cut (the bits
  /// do not change).
  explicit DecodeSession(const TransformerLM& model, int64_t chunk_tokens = 2048);

  struct Input {
    int sequence;
    std::vector<int32_t> ids;  // at least one
  };
  int add_sequence();
  void release(int sequence) { cache_.release(sequence); }
  int64_t length(int sequence) const { return cache_.length(sequence); }

  /// [inputs, V]: the logits after the last token of each input.
  Tensor feed(const std::vector<Input>& inputs);
  /// [total tokens, V]: the logits after every token.
  Tensor feed_all(const std::vector<Input>& inputs);

 private:
  Tensor run(const std::vector<Input>& inputs, bool every_row);
  const TransformerLM& model_;
  int64_t chunk_tokens_;
  KvCache cache_;
  std::vector<std::unique_ptr<ExpertsTaken>> taken_;  // [sequence]
  std::vector<std::vector<int32_t>> history_;         // [sequence]: its last tokens, for n-grams
};

}  // namespace moe
