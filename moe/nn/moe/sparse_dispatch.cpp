// SPDX-License-Identifier: MIT
#include "moe/nn/moe/sparse_dispatch.h"

#include <algorithm>

#include "moe/ops/rows.h"

namespace moe {

SparseDispatch::SparseDispatch(const Picks& picks, Var weight_A1, int64_t n_experts,
                               int64_t n_identity)
    : picks_(picks),
      weight_A1_(std::move(weight_A1)),
      n_experts_(n_experts),
      n_identity_(n_identity) {}

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
  const int64_t with_rows = first(n_experts_), with_value = first(n_experts_ + n_identity_),
                T = x_TD.size(0);
  // Identity experts return x itself: its rows follow those of the experts. Zero experts add
  // nothing and are left out.
  const Var rows_RD =
      with_value > with_rows
          ? ops::concat_rows(y_RD, ops::gather_rows(x_TD, tokens_of(picks_, with_rows, with_value)))
          : y_RD;
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
