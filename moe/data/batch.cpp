// SPDX-License-Identifier: MIT
#include "moe/data/batch.h"

#include <cassert>

namespace moe {

Batch empty_batch() {
  Batch batch;
  batch.sequence_starts_B1.push_back(0);
  return batch;
}

namespace {

template <class IsTrained>
void append(Batch& batch, std::span<const int32_t> ids, int64_t first_token_index, int32_t subject,
            IsTrained is_trained) {
  assert(ids.size() >= 2 && !batch.sequence_starts_B1.empty());
  for (size_t i = 0; i + 1 < ids.size(); ++i) {
    const bool trained = is_trained(i + 1);
    batch.token_ids_T.push_back(ids[i]);
    batch.targets_T.push_back(trained ? ids[i + 1] : Batch::kNotTrained);
    batch.positions_T.push_back(static_cast<int32_t>(i));
    batch.token_index_T.push_back(first_token_index + static_cast<int64_t>(i));
    batch.subject_T.push_back(subject);
    batch.n_targets += trained;
  }
  batch.sequence_starts_B1.push_back(static_cast<int32_t>(batch.token_ids_T.size()));
}

}  // namespace

void append_sequence(Batch& batch, std::span<const int32_t> ids, int64_t first_token_index,
                     int32_t subject, int64_t n_untrained) {
  append(batch, ids, first_token_index, subject,
         [&](size_t i) { return static_cast<int64_t>(i) > n_untrained; });
}

void append_sequence(Batch& batch, std::span<const int32_t> ids, std::span<const uint8_t> trained,
                     int64_t first_token_index, int32_t subject) {
  assert(trained.size() == ids.size());
  append(batch, ids, first_token_index, subject, [&](size_t i) { return trained[i] != 0; });
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
