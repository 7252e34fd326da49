// SPDX-License-Identifier: MIT
// A split of a dataset as numbered windows: what the loader shuffles and batches. A window holds
// seq_len + 1 ids, so that each of its seq_len tokens has a target; `stride` is the distance
// between window starts.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "moe/data/batch.h"

namespace moe {

class Windows {
 public:
  virtual ~Windows() = default;
  virtual int64_t count() const = 0;
  /// Appends window w, 0 <= w < count(): one sequence or several, at most seq_len tokens in all.
  virtual void append(int64_t w, int64_t first_token_index, Batch& batch) const = 0;
  /// Targets of window w: what append would add to Batch::n_targets.
  virtual int64_t n_targets(int64_t w) const;
  /// The window at a place (0, 1, 2 ... without an end) of the order in which they are trained on:
  /// all of them again and again, shuffled anew each time, or in their own order.
  virtual int64_t at(int64_t place, uint64_t seed, bool shuffled) const;
};

struct WindowShape {
  int64_t seq_len = 0;
  int64_t stride = 0;  // >= 1
  bool drop_last = true;
  /// Of windows that overlap, an id is a target in the first that reaches it; for the later ones it
  /// is context.
  bool score_once = false;
};

/// How many windows n_tokens consecutive ids give. Without drop_last, targets that no whole window
/// reaches make one more, shorter window.
int64_t count_windows(int64_t n_tokens, const WindowShape& shape);

/// Ids [begin, begin + out.size()) of a token stream.
using ReadTokens = std::function<void(int64_t begin, std::span<int32_t> out)>;

/// Rows of equal length, one after another in a token stream; no window crosses from one row into
/// the next.
struct TokenRows {
  int64_t begin = 0;  // of the first row
  int64_t n_rows = 1;
  int64_t row_length = 0;
};

/// Windows over token rows, by row, then by start.
class TokenWindows : public Windows {
 public:
  TokenWindows(ReadTokens read, TokenRows rows, WindowShape shape);
  int64_t count() const override { return rows_.n_rows * windows_per_row_; }
  void append(int64_t w, int64_t first_token_index, Batch& batch) const override;
  int64_t n_targets(int64_t w) const override;

 private:
  int64_t ids_of(int64_t w) const;
  int64_t n_context(int64_t w) const;

  ReadTokens read_;
  TokenRows rows_;
  WindowShape shape_;
  int64_t windows_per_row_;
};

}  // namespace moe
