// SPDX-License-Identifier: MIT
// What one forward pass gets: sequences packed end to end without padding, and beside them where
// they start.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "moe/text/tokenizer.h"

namespace moe {

/// Letters as in docs/SHAPES.md: T packed tokens, B sequences. All vectors named _T have the same
/// length.
struct Batch {
  static constexpr int32_t kNotTrained = -1;  // in targets_T
  static constexpr int32_t kNoSubject = -1;   // in subject_T

  std::vector<int32_t> token_ids_T;
  std::vector<int32_t> targets_T;           // the next token's id, or kNotTrained
  std::vector<int32_t> positions_T;         // from 0 in every sequence
  std::vector<int32_t> sequence_starts_B1;  // B + 1 entries: 0 ... T
  std::vector<int64_t> token_index_T;       // place in the step, whatever the micro-batches
  std::vector<int32_t> subject_T;           // index into Dataset::subject_names, or kNoSubject
  int64_t n_targets = 0;                    // targets_T without kNotTrained

  int64_t n_tokens() const { return static_cast<int64_t>(token_ids_T.size()); }
  int64_t n_sequences() const { return static_cast<int64_t>(sequence_starts_B1.size()) - 1; }
};

/// A batch without tokens: sequence_starts_B1 = {0}.
Batch empty_batch();

/// Appends one sequence of ids.size() - 1 tokens, each with the id after it as its target; the
/// first n_untrained of them are not trained on. token_index counts on from first_token_index. ids
/// must hold at least two.
void append_sequence(Batch& batch, std::span<const int32_t> ids, int64_t first_token_index,
                     int32_t subject, int64_t n_untrained = 0);

/// The same, where trained says of each id whether it is learned as a target; the first one never
/// is.
void append_sequence(Batch& batch, std::span<const int32_t> ids, std::span<const uint8_t> trained,
                     int64_t first_token_index, int32_t subject);

/// Bytes of text that the targets stand for, special tokens counted as none: the divisor of bits
/// per byte.
int64_t target_bytes(const Batch& batch, const Tokenizer& tokenizer);

}  // namespace moe
