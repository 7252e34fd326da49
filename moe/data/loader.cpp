// SPDX-License-Identifier: MIT
#include "moe/data/loader.h"

#include "moe/base/error.h"

namespace moe {

Loader::Loader(std::shared_ptr<const Windows> windows, LoaderConfig config)
    : windows_(std::move(windows)), config_(config) {
  MOE_CHECK(config_.batch_size >= 1 && config_.grad_accum >= 1 && config_.seq_len >= 1,
            "[loader] batch_size ", config_.batch_size, ", grad_accum ", config_.grad_accum,
            " and seq_len ", config_.seq_len, " must be at least 1");
  MOE_CHECK(windows_ && windows_->count() >= 1, "[loader] there is no window to train on");
}

int64_t Loader::window(int64_t step, int64_t in_step) const {
  return windows_->at(step * windows_per_step() + in_step, config_.seed, config_.shuffled);
}

Batch Loader::batch(int64_t step, int64_t micro_batch) const {
  MOE_CHECK(step >= 0 && micro_batch >= 0 && micro_batch < config_.grad_accum, "[loader] step ",
            step, ", micro-batch ", micro_batch, " of ", config_.grad_accum, " does not exist");
  Batch out = empty_batch();
  for (int64_t i = 0; i < config_.batch_size; ++i) {
    const int64_t in_step = micro_batch * config_.batch_size + i;
    windows_->append(window(step, in_step), in_step * config_.seq_len, out);
  }
  return out;
}

int64_t Loader::n_targets(int64_t step, int64_t micro_batch) const {
  int64_t n = 0;
  for (int64_t i = 0; i < config_.batch_size; ++i)
    n += windows_->n_targets(window(step, micro_batch * config_.batch_size + i));
  return n;
}

double Loader::epoch(int64_t step) const {
  return static_cast<double>(step) * static_cast<double>(windows_per_step()) /
         static_cast<double>(windows_->count());
}

std::vector<Batch> validation_batches(const Windows& windows, int64_t seq_len, int64_t batch_size,
                                      int64_t max_windows) {
  MOE_CHECK(batch_size >= 1 && max_windows >= 0, "[loader] batch_size ", batch_size,
            " must be at least 1, max_windows ", max_windows, " at least 0");
  const int64_t n = max_windows > 0 ? std::min(max_windows, windows.count()) : windows.count();
  std::vector<Batch> out;
  for (int64_t i = 0; i < n; ++i) {
    if (i % batch_size == 0) out.push_back(empty_batch());
    windows.append(i * windows.count() / n, i % batch_size * seq_len, out.back());
  }
  return out;
}

}  // namespace moe
