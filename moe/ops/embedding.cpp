// SPDX-License-Identifier: MIT
#include "moe/ops/embedding.h"

#include "moe/kernels/kernels.h"

namespace moe::ops {

Var embedding(const Tensor& ids_T, const Var& w_VD) {
  const std::span<const int32_t> ids = ids_T.data<int32_t>();
  const int64_t vocab = w_VD.size(0);
  for (size_t t = 0; t < ids.size(); ++t)
    MOE_CHECK(ids[t] >= 0 && ids[t] < vocab, "[embedding] id ", ids[t], " at place ", t,
              " is outside the table of ", vocab, " rows");
  Tensor y = Tensor::empty({int64_t(ids.size()), w_VD.size(1)}, w_VD.dtype());
  kernels(y.dtype()).embedding_fwd(y.view(), w_VD.value().panels(), ids);
  return record("embedding", y, {w_VD}, [=](const Tensor& dy) {
    kernels(dy.dtype()).embedding_bwd(w_VD.grad().panels(), dy.view(), ids_T.data<int32_t>());
  });
}

}  // namespace moe::ops
