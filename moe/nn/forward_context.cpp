// SPDX-License-Identifier: MIT
#include "moe/nn/forward_context.h"

namespace moe {

ForwardContext pack_sequences(const std::vector<std::vector<int32_t>>& sequences) {
  std::vector<int32_t> ids, positions, starts = {0};
  std::vector<int64_t> index;
  for (const std::vector<int32_t>& sequence : sequences) {
    for (size_t i = 0; i < sequence.size(); ++i) {
      index.push_back(int64_t(ids.size()));
      ids.push_back(sequence[i]);
      positions.push_back(int32_t(i));
    }
    starts.push_back(int32_t(ids.size()));
  }
  const int64_t T = int64_t(ids.size());
  ForwardContext ctx;
  ctx.token_ids_T = Tensor::from<int32_t>({T}, ids);
  ctx.positions_T = Tensor::from<int32_t>({T}, positions);
  ctx.sequence_starts_B1 = Tensor::from<int32_t>({int64_t(starts.size())}, starts);
  ctx.token_index_T = Tensor::from<int64_t>({T}, index);
  return ctx;
}

}  // namespace moe
