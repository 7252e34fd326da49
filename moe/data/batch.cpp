// SPDX-License-Identifier: MIT
#include "moe/data/batch.h"

#include <cassert>

namespace moe {

Batch empty_batch() {
  Batch batch;
  batch.sequence_starts_B1.push_back(0);
  return batch;
}

void append_sequence(Batch& batch, std::span<const int32_t> ids, int64_t first_token_index,
                     int32_t subject, int64_t n_untrained) {
  const auto n_tokens = static_cast<int64_t>(ids.size()) - 1;
  assert(n_tokens >= 1 && n_untrained <= n_tokens && !batch.sequence_starts_B1.empty());
  for (int64_t i = 0; i < n_tokens; ++i) {
    batch.token_ids_T.push_back(ids[static_cast<size_t>(i)]);
    batch.targets_T.push_back(i < n_untrained ? Batch::kNotTrained
                                              : ids[static_cast<size_t>(i) + 1]);
    batch.positions_T.push_back(static_cast<int32_t>(i));
    batch.token_index_T.push_back(first_token_index + i);
    batch.subject_T.push_back(subject);
  }
  batch.sequence_starts_B1.push_back(static_cast<int32_t>(batch.token_ids_T.size()));
  batch.n_targets += n_tokens - n_untrained;
}

int64_t target_bytes(const Batch& batch, const Tokenizer& tokenizer) {
  int64_t n_bytes = 0;
  for (const int32_t id : batch.targets_T) {
    if (id != Batch::kNotTrained && !tokenizer.is_special(id))
      n_bytes += static_cast<int64_t>(tokenizer.token_bytes(id).size());
  }
  return n_bytes;
}

}  // namespace moe
