// SPDX-License-Identifier: MIT
#include "moe/nn/ngram_embedding.h"

#include "moe/base/str.h"
#include "moe/ops/elementwise.h"
#include "moe/ops/rows.h"

namespace moe {

NgramEmbedding::NgramEmbedding(const ModelConfig& c, DType dtype)
    : max_order(c.ngram_order), n_buckets(c.ngram_buckets), dropout(c.ngram_dropout) {
  if (max_order > 1)
    weight = Var(Tensor::zeros({(max_order - 1) * n_buckets, c.d_model}, dtype), true);
}

Var NgramEmbedding::add_to(const Var& x_TD, const ForwardContext& ctx) const {
  Var y_TD = x_TD;
  const Tensor longest_T = ctx.training && dropout > 0 ? longest_kept(ctx) : Tensor();
  for (int64_t order = 2; order <= max_order; ++order) {
    const Tensor rows_T = ngram_rows(ctx, order, n_buckets);
    for (int32_t& row : rows_T.data<int32_t>()) row += int32_t((order - 2) * n_buckets);
    Var rows_TD = ops::gather_rows(weight, rows_T);
    if (longest_T) {
      std::vector<double> kept(size_t(rows_T.numel()));
      for (size_t t = 0; t < kept.size(); ++t)
        kept[t] = longest_T.data<int32_t>()[t] >= order ? 1 : 0;
      const Tensor kept_T1 = Tensor::from<double>({rows_T.numel(), 1}, kept).to(weight.dtype());
      rows_TD = ops::scale_rows(rows_TD, Var(kept_T1));
    }
    y_TD = ops::add(y_TD, rows_TD);
  }
  return y_TD;
}

Tensor NgramEmbedding::longest_kept(const ForwardContext& ctx) const {
  const RngStream draws = ctx.rng.stream("dropout.ngrams");
  const std::span<const int64_t> index_T = ctx.token_index_T.data<int64_t>();
  Tensor longest_T = Tensor::empty({int64_t(index_T.size())}, DType::i32);
  for (size_t t = 0; t < index_T.size(); ++t) {
    int32_t order = 1;
    while (order < max_order && draws.uniform(index_T[t], order) >= dropout) ++order;
    longest_T.data<int32_t>()[t] = order;
  }
  return longest_T;
}

void NgramEmbedding::visit(const Visitor& v) const {
  const std::string name = v.prefix + "embed_ngrams.weight";
  v.parameter({.name = name,
               .var = weight,
               .role = Role::embedding,
               .pieces = {{.name = name, .rows = weight.value().numel(), .is_vector = true}},
               .other_uses = {}});
}

Tensor ngram_rows(const ForwardContext& ctx, int64_t order, int64_t n_buckets) {
  const std::span<const int32_t> ids = ctx.token_ids_T.data<int32_t>(),
                                 starts = ctx.sequence_starts_B1.data<int32_t>();
  const int64_t H = ctx.history_BH ? ctx.history_BH.size(1) : 0;
  Tensor rows_T = Tensor::empty({int64_t(ids.size())}, DType::i32);
  const std::span<int32_t> rows = rows_T.data<int32_t>();
  for (size_t b = 0; b + 1 < starts.size(); ++b)
    for (int64_t t = starts[b]; t < starts[b + 1]; ++t) {
      uint64_t hash = uint64_t(order);
      for (int64_t back = order - 1; back >= 0; --back) {
        int64_t id = -1;  // before the sequence
        if (t - back >= starts[b]) {
          id = ids[size_t(t - back)];
        } else if (const int64_t missing = back - (t - starts[b]); missing <= H) {
          id = ctx.history_BH.data<int32_t>()[b * size_t(H) + size_t(H - missing)];
        }
        hash = (hash ^ uint64_t(id + 1)) * 0x9E3779B97F4A7C15u;  // 2^64 / the golden ratio
        hash ^= hash >> 29;
      }
      rows[size_t(t)] = int32_t(hash % uint64_t(n_buckets));
    }
  return rows_T;
}

}  // namespace moe
