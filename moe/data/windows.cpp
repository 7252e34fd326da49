// SPDX-License-Identifier: MIT
#include "moe/data/windows.h"

#include "moe/base/error.h"
#include "moe/data/permutation.h"

namespace moe {

int64_t count_windows(int64_t n_tokens, const WindowShape& shape) {
  MOE_CHECK(shape.seq_len >= 1 && shape.stride >= 1, "[data] seq_len ", shape.seq_len,
            " and stride ", shape.stride, " must be at least 1");
  const int64_t whole =
      n_tokens > shape.seq_len ? (n_tokens - shape.seq_len - 1) / shape.stride + 1 : 0;
  if (shape.drop_last) return whole;
  // Targets are the ids 1 .. n_tokens - 1. A shorter window must hold two ids and reach a target of
  // its own.
  const int64_t start = whole * shape.stride;
  const int64_t last_reached = whole > 0 ? (whole - 1) * shape.stride + shape.seq_len : 0;
  return start + 1 < n_tokens && last_reached < n_tokens - 1 ? whole + 1 : whole;
}

TokenWindows::TokenWindows(ReadTokens read, TokenRows rows, WindowShape shape)
    : read_(std::move(read)),
      rows_(rows),
      shape_(shape),
      windows_per_row_(count_windows(rows.row_length, shape)) {}

int64_t Windows::n_targets(int64_t w) const {
  Batch batch = empty_batch();
  append(w, 0, batch);
  return batch.n_targets;
}

int64_t Windows::at(int64_t place, uint64_t seed, bool shuffled) const {
  const int64_t epoch = place / count(), in_epoch = place % count();
  return shuffled ? Permutation(count(), seed, static_cast<uint64_t>(epoch))(in_epoch) : in_epoch;
}

int64_t TokenWindows::ids_of(int64_t w) const {
  MOE_CHECK(w >= 0 && w < count(), "[data] window ", w, " is not one of 0 .. ", count() - 1);
  const int64_t start = w % windows_per_row_ * shape_.stride;
  return std::min(shape_.seq_len + 1, rows_.row_length - start);
}

int64_t TokenWindows::n_context(int64_t w) const {
  const bool first = w % windows_per_row_ == 0;
  return shape_.score_once && !first ? std::max<int64_t>(0, shape_.seq_len - shape_.stride) : 0;
}

int64_t TokenWindows::n_targets(int64_t w) const { return ids_of(w) - 1 - n_context(w); }

void TokenWindows::append(int64_t w, int64_t first_token_index, Batch& batch) const {
  const int64_t n_ids = ids_of(w);
  const int64_t start = w % windows_per_row_ * shape_.stride;
  const int64_t row_begin = rows_.begin + w / windows_per_row_ * rows_.row_length;
  std::vector<int32_t> ids(static_cast<size_t>(n_ids));
  read_(row_begin + start, ids);
  append_sequence(batch, ids, first_token_index, Batch::kNoSubject, n_context(w));
}

}  // namespace moe
