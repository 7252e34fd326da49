// SPDX-License-Identifier: MIT
// Which windows an optimiser step trains on. A batch is a function of (seed, step, micro-batch)
// alone, so a resumed run needs only its step number, and the data of a step do not depend on how
// it is cut into micro-batches.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "moe/data/batch.h"
#include "moe/data/windows.h"

namespace moe {

struct LoaderConfig {
  int64_t batch_size = 16;  // windows per micro-batch
  int64_t grad_accum = 1;   // micro-batches per step
  int64_t seq_len = 256;    // tokens of a whole window
  uint64_t seed = 1;
  bool shuffled = true;  // a new order every epoch; false: window 0, 1, 2 ... again and again
};

class Loader {
 public:
  /// windows must hold at least one window. Throws Error on sizes below 1.
  Loader(std::shared_ptr<const Windows> windows, LoaderConfig config);

  /// Micro-batch number micro_batch of a step (both from 0): batch_size windows. Epochs follow one
  /// another without a gap: a step may hold the end of one and the start of the next. Window i of
  /// the step has the token indices i * seq_len and on.
  Batch batch(int64_t step, int64_t micro_batch) const;
  /// Targets of one micro-batch, without building it where the windows know.
  int64_t n_targets(int64_t step, int64_t micro_batch) const;
  int64_t windows_per_step() const { return config_.batch_size * config_.grad_accum; }
  /// Passes over the data before step begins.
  double epoch(int64_t step) const;

 private:
  int64_t window(int64_t step, int64_t in_step) const;

  std::shared_ptr<const Windows> windows_;
  LoaderConfig config_;
};

/// The validation set in order, batch_size windows a batch (the last may hold fewer). With more
/// than max_windows windows, max_windows of them, evenly spread; 0: all.
std::vector<Batch> validation_batches(const Windows& windows, int64_t seq_len, int64_t batch_size,
                                      int64_t max_windows = 0);

}  // namespace moe
