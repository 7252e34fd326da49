// SPDX-License-Identifier: MIT
// Keys and values of running sequences, in blocks of 64 tokens that are allocated as a sequence
// grows.
#pragma once

#include <vector>

#include "moe/nn/transformer_lm.h"

namespace moe {

class KvCache {
 public:
  KvCache(const ModelConfig& config, DType dtype);

  /// A new empty sequence; its number stays valid until release.
  int add_sequence();
  void release(int sequence);
  /// Tokens stored so far.
  int64_t length(int sequence) const { return sequences_[size_t(sequence)].length; }
  /// Makes room for n more tokens and counts them as stored.
  void extend(int sequence, int64_t n);
  /// The blocks of some sequences, in that order, for one forward pass. Valid until the next extend
  /// or release.
  KvView view(const std::vector<int>& sequences) const;

 private:
  struct Sequence {
    int64_t length = 0;
    std::vector<Tensor> blocks;            // one per 64 tokens, all layers
    std::vector<std::vector<void*>> k, v;  // [layer][block]
  };
  int64_t n_layers_, k_head_, v_head_, layer_elements_;
  int64_t n_kv_heads_;
  DType dtype_;
  std::vector<Sequence> sequences_;
  std::vector<int> free_;
};

}  // namespace moe
