// SPDX-License-Identifier: MIT
#include "moe/nn/moe/sparse_dispatch.h"

#include <algorithm>

#include "moe/ops/rows.h"

namespace moe {

SparseDispatch::SparseDispatch(const Picks& picks, Var weight_A1, int64_t n_experts,
                               LightExperts light)
    : picks_(picks),
      weight_A1_(std::move(weight_A1)),
      n_experts_(n_experts),
      light_(std::move(light)) {}

int64_t SparseDispatch::first(int64_t expert) const {
  return std::lower_bound(picks_.begin(), picks_.end(), Pick{int32_t(expert), -1, -1}) -
         picks_.begin();
}

namespace {

Tensor tokens_of(const Picks& picks, int64_t begin, int64_t end) {
  const Tensor out = Tensor::empty({end - begin}, DType::i32);
  std::transform(picks.begin() + begin, picks.begin() + end, out.data<int32_t>().begin(),
                 [](const Pick& p) { return p.token; });
  return out;
}

}  // namespace

ExpertRows SparseDispatch::dispatch(const Var& x_TD) const {
  Tensor offsets_E1 = Tensor::empty({n_experts_ + 1}, DType::i32);
  for (int64_t e = 0; e <= n_experts_; ++e)
    offsets_E1.data<int32_t>()[size_t(e)] = int32_t(first(e));
  const int64_t R = first(n_experts_);
  return {x_TD, tokens_of(picks_, 0, R), offsets_E1,
          R == int64_t(picks_.size()) ? weight_A1_ : Var()};
}

Var SparseDispatch::combine(const Var& y_RD, const Var& x_TD) const {
  const int64_t T = x_TD.size(0);
  // Rows that cost next to nothing follow those of the experts; zero experts have none.
  Var rows_RD = y_RD;
  int64_t expert = n_experts_;
  const auto append = [&](int64_t n_outputs, auto rows_of) {
    const int64_t begin = first(expert), end = first(expert + n_outputs);
    expert += n_outputs;
    if (begin < end)
      rows_RD =
          ops::concat_rows(rows_RD, rows_of(ops::gather_rows(x_TD, tokens_of(picks_, begin, end))));
  };
  for (int64_t j = 0; j < light_.n_constant; ++j)
    append(1, [&](const Var& x_RD) { return light_.constant(x_RD, j); });
  append(light_.n_identity, [](const Var& x_RD) { return x_RD; });
  const int64_t with_value = first(expert);
  // Counting sort of the picks by token; picks ascend by expert, so each token's do too.
  Tensor offsets_T1 = Tensor::zeros({T + 1}, DType::i32),
         row_of_N = Tensor::empty({with_value}, DType::i32);
  const std::span<int32_t> offsets = offsets_T1.data<int32_t>(), rows = row_of_N.data<int32_t>();
  for (int64_t a = 0; a < with_value; ++a) offsets[size_t(picks_[size_t(a)].token) + 1] += 1;
  for (int64_t t = 0; t < T; ++t) offsets[size_t(t) + 1] += offsets[size_t(t)];
  std::vector<int32_t> next(offsets.begin(), offsets.end() - 1);
  for (int64_t a = 0; a < with_value; ++a)
    rows[size_t(next[size_t(picks_[size_t(a)].token)]++)] = int32_t(a);
  return ops::combine_rows(
      rows_RD, weight_A1_,
      {.token_offsets_T1 = offsets_T1, .row_of_N = row_of_N, .weight_of_N = row_of_N});
}

}  // namespace moe
