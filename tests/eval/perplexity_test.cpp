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

// Against windows made by hand: of each only the last targets count.
TEST(Perplexity, AStrideGivesContextAndScoresEachTokenOnce) {
  const TransformerLM model = small_model();
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 29; ++i) ids.push_back(i * 7 % 20);
  const int64_t context = model.config().max_seq_len;
  for (const int64_t stride : {1, 3, 5, 8}) {
    double sum = 0;
    int64_t scored = 0;
    for (int64_t begin = 0; scored < 28; begin += stride) {
      const int64_t n = std::min<int64_t>(context, 28 - begin);
      const std::vector<int32_t> window(ids.begin() + begin, ids.begin() + begin + n);
      const Tensor logits = model.logits(model(pack_sequences({window})).hidden_TD).value();
      for (int64_t t = scored - begin; t < n; ++t) {
        const float* row = &logits.data<float>()[size_t(t * 20)];
        double total = 0;
        for (int v = 0; v < 20; ++v) total += std::exp(double(row[v]));
        sum += std::log(total) - double(row[ids[size_t(begin + t + 1)]]);
      }
      scored = begin + n;
    }
    const PerplexityResult r = evaluate_sequences(model, {ids}, nullptr, {}, stride);
    EXPECT_EQ(r.tokens, 28) << stride;
    EXPECT_NEAR(r.loss, sum / 28, 1e-6) << stride;
  }
  EXPECT_EQ(evaluate_sequences(model, {ids}, nullptr, {}, 8).loss,
            evaluate_ids(model, ids, nullptr).loss);
  EXPECT_THROW(evaluate_sequences(model, {ids}, nullptr, {}, 9), Error);
}

}  // namespace
}  // namespace moe
