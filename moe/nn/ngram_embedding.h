// SPDX-License-Identifier: MIT
// N-gram hash embeddings: beside its own row of the token table, a token takes one row for each of
// the n-grams that end in it (n = 2 ..), found by a hash of their ids. They make short-range
// statistics a lookup, which otherwise the first layers must learn; no product is added.
#pragma once

#include "moe/nn/forward_context.h"
#include "moe/nn/model_config.h"
#include "moe/nn/module.h"

namespace moe {

/// Tables for the orders 2 .. max_order one below the other. Names end in
/// "embed_ngrams.weight".
struct NgramEmbedding {
  int64_t max_order = 0;  // 0: none
  int64_t n_buckets = 0;  // rows of one order
  double dropout = 0;  // training: a token's orders from n on are left out with 1 - (1 - p)^(n-1)
  Var weight;          // [(max_order - 1) * n_buckets, D], row-major

  NgramEmbedding() = default;
  NgramEmbedding(const ModelConfig& config, DType dtype);
  explicit operator bool() const { return max_order > 1; }
  /// x plus the n-grams' rows, orders ascending. In training dropout leaves out the longer orders
  /// of a token, as if they had never been met, which later texts will often show the model.
  Var add_to(const Var& x_TD, const ForwardContext& ctx) const;
  void visit(const Visitor& v) const;

 private:
  /// i32 [T]: the longest order that dropout leaves to each token, 1 .. max_order.
  Tensor longest_kept(const ForwardContext& ctx) const;
};

/// Row of each token's n-gram of this order among n_buckets, i32 [T]. Tokens before a sequence's
/// first one count as one id of their own; those before the context's rows come from
/// ctx.history_BH.
Tensor ngram_rows(const ForwardContext& ctx, int64_t order, int64_t n_buckets);

}  // namespace moe
