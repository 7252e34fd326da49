// SPDX-License-Identifier: MIT
// Windows of one length whose ids are made by a formula: with another number of tokens a step may
// need a block of memory of another size.
#pragma once

#include <vector>

#include "moe/data/dataset.h"

namespace moe {

class SquareWindows final : public Windows {
 public:
  explicit SquareWindows(int64_t seq_len) : seq_len_(seq_len) {}
  int64_t count() const override { return 1000; }
  void append(int64_t w, int64_t first_token_index, Batch& batch) const override {
    std::vector<int32_t> ids;
    for (int64_t i = 0; i <= seq_len_; ++i) ids.push_back(int32_t((w * 31 + i * i) % 50));
    append_sequence(batch, ids, first_token_index, Batch::kNoSubject);
  }

 private:
  int64_t seq_len_;
};

}  // namespace moe
