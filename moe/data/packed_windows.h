// SPDX-License-Identifier: MIT
// Windows of whole documents: each is a sequence of its own, so that none of its tokens sees
// another document, and what a model computes of it is bit for bit what it computes of it alone.
#pragma once

#include <string>
#include <vector>

#include "moe/data/windows.h"

namespace moe {

/// Sequences of token ids, each id with whether it is learned.
struct TokenSequences {
  std::vector<int32_t> ids;
  std::vector<uint8_t> trained;          // of each id
  std::vector<int64_t> begins_S1 = {0};  // S + 1 places in ids

  int64_t count() const { return static_cast<int64_t>(begins_S1.size()) - 1; }
  /// Tokens that sequence s takes in a window: its last id is a target alone.
  int64_t n_tokens(int64_t s) const { return begins_S1[s + 1] - begins_S1[s] - 1; }
  int64_t n_targets(int64_t s) const;
  /// At least two ids.
  void add(std::span<const int32_t> more, std::span<const uint8_t> more_trained);
  /// A text of any length, as sequences of at most seq_len tokens; each id but the first is a
  /// target once.
  void add_text(std::span<const int32_t> more, int64_t seq_len);
};

enum class Packing { none, sequential, best_fit };

/// Which sequences share a window of `room` tokens; every length is at most room. sequential: in
/// their order, a new window where the next one does not fit. best_fit: the longest first, each
/// into the fullest window that has room for it (best-fit decreasing); windows are then in the
/// order of their first sequence.
std::vector<std::vector<int64_t>> pack_sequences_into(const std::vector<int64_t>& lengths,
                                                      int64_t room, Packing packing);

class PackedWindows : public Windows {
 public:
  PackedWindows(TokenSequences sequences, int64_t seq_len, Packing packing);
  int64_t count() const override { return static_cast<int64_t>(windows_.size()); }
  void append(int64_t w, int64_t first_token_index, Batch& batch) const override;
  int64_t n_targets(int64_t w) const override;
  /// Share of the windows' room that holds tokens.
  double fill() const;
  const TokenSequences& sequences() const { return sequences_; }

 private:
  TokenSequences sequences_;
  int64_t seq_len_;
  std::vector<std::vector<int64_t>> windows_;
};

}  // namespace moe
