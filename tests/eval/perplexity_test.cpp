// SPDX-License-Identifier: MIT
#include "moe/eval/perplexity.h"

#include <gtest/gtest.h>

#include "moe/nn/init.h"

namespace moe {
namespace {

TransformerLM small_model() {
  ModelConfig c;
  c.n_layers = 1;
  c.d_model = 16;
  c.n_heads = c.n_kv_heads = 2;
  c.head_dim = 8;
  c.d_ff = 24;
  c.max_seq_len = 8;
  c.vocab_size = 20;
  TransformerLM model(c);
  initialize(model, 3);
  return model;
}

TEST(Perplexity, EachSequenceIsEvaluatedByItself) {
  const TransformerLM model = small_model();
  const std::vector<int32_t> a = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, b = {12, 3, 19}, one = {5};
  const PerplexityResult both = evaluate_sequences(model, {a, one, b}, nullptr),
                         only_a = evaluate_ids(model, a, nullptr),
                         only_b = evaluate_ids(model, b, nullptr);
  EXPECT_EQ(only_a.tokens, 10);
  EXPECT_EQ(both.tokens, 12);  // the first id of a sequence is no target
  EXPECT_NEAR(both.loss, (10 * only_a.loss + 2 * only_b.loss) / 12, 1e-12);
  std::vector<int32_t> joined = a;
  joined.insert(joined.end(), b.begin(), b.end());
  EXPECT_NE(evaluate_ids(model, joined, nullptr).loss, both.loss);
  EXPECT_THROW(evaluate_sequences(model, {one, one}, nullptr), Error);
}

}  // namespace
}  // namespace moe
