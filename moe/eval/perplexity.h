// SPDX-License-Identifier: MIT
// Language-modelling loss of a text or of token ids: windows of the model's context, every token
// but the first of a window predicted once.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moe/nn/transformer_lm.h"
#include "moe/text/tokenizer.h"

namespace moe {

struct PerplexityResult {
  double loss = 0;  // nats per token
  int64_t tokens = 0, bytes = 0;
  double perplexity() const;
  double bits_per_byte() const;  // NaN when the bytes are unknown
};

/// Each sequence by itself is cut into windows of max_seq_len tokens whose targets are the next
/// ids, so that each id but the first of a sequence is a target once. stride: tokens between their
/// starts, 1 .. max_seq_len, so that all but the first window have max_seq_len - stride tokens of
/// context alone; 0: max_seq_len. tokenizer: for the bytes, may be null. progress: called with the
/// share done. Throws Error when no sequence has two ids or the stride is out of range.
PerplexityResult evaluate_sequences(const TransformerLM& model,
                                    const std::vector<std::vector<int32_t>>& sequences,
                                    const Tokenizer* tokenizer,
                                    const std::function<void(double)>& progress = {},
                                    int64_t stride = 0);
/// One sequence.
PerplexityResult evaluate_ids(const TransformerLM& model, const std::vector<int32_t>& ids,
                              const Tokenizer* tokenizer,
                              const std::function<void(double)>& progress = {});

}  // namespace moe
