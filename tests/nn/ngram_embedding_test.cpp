// SPDX-License-Identifier: MIT
// N-gram rows: equal n-grams share a row wherever they stand, sequences do not see each other, a
// history stands in for rows that went before.
#include "moe/nn/ngram_embedding.h"

#include <gtest/gtest.h>
#include <set>

namespace moe {
namespace {

std::vector<int32_t> rows_of(const ForwardContext& ctx, int64_t order, int64_t buckets = 1 << 20) {
  const std::span<const int32_t> rows = ngram_rows(ctx, order, buckets).data<int32_t>();
  return {rows.begin(), rows.end()};
}

TEST(NgramRows, DependOnTheLastTokensAlone) {
  const std::vector<int32_t> rows = rows_of(pack_sequences({{7, 1, 2, 3, 9, 1, 2, 3}}), 3);
  EXPECT_EQ(rows[3], rows[7]);  // 1 2 3
  EXPECT_NE(rows[2], rows[6]);  // 7 1 2, 9 1 2
  EXPECT_NE(rows_of(pack_sequences({{1, 2}}), 2)[1], rows_of(pack_sequences({{2, 1}}), 2)[1]);
}

TEST(NgramRows, ASequenceDoesNotSeeTheOneBefore) {
  const std::vector<int32_t> packed = rows_of(pack_sequences({{5, 6, 7}, {7, 8}}), 3),
                             alone = rows_of(pack_sequences({{7, 8}}), 3);
  EXPECT_EQ(packed[3], alone[0]);
  EXPECT_EQ(packed[4], alone[1]);
}

TEST(NgramRows, HistoryStandsInForRowsThatWentBefore) {
  const std::vector<int32_t> ids = {3, 1, 4, 1, 5, 9, 2, 6};
  const std::vector<int32_t> whole = rows_of(pack_sequences({ids}), 4);
  for (size_t cut = 0; cut < ids.size(); ++cut) {
    ForwardContext ctx = pack_sequences({{ids.begin() + int64_t(cut), ids.end()}});
    std::vector<int32_t> history;
    for (int64_t i = int64_t(cut) - 3; i < int64_t(cut); ++i)
      history.push_back(i < 0 ? -1 : ids[size_t(i)]);
    ctx.history_BH = Tensor::from<int32_t>({1, 3}, history);
    const std::vector<int32_t> part = rows_of(ctx, 4);
    for (size_t i = cut; i < ids.size(); ++i) EXPECT_EQ(part[i - cut], whole[i]) << cut << " " << i;
  }
}

TEST(NgramRows, SpreadOverTheBuckets) {
  std::set<int32_t> used;
  std::vector<std::vector<int32_t>> pairs;
  for (int32_t a = 0; a < 64; ++a)
    for (int32_t b = 0; b < 64; ++b) pairs.push_back({a, b});
  const std::vector<int32_t> rows = rows_of(pack_sequences(pairs), 2, 4096);
  for (size_t i = 1; i < rows.size(); i += 2) used.insert(rows[i]);
  // 4,096 pairs thrown at 4,096 buckets meet (1 - 1/e) of them = 2,589, standard deviation 25.
  EXPECT_NEAR(double(used.size()), 2589, 150);
}

// With a table of ones a token's sum counts the orders that were left to it.
TEST(NgramDropout, LeavesTheLongerOrdersOut) {
  ModelConfig c;
  c.vocab_size = 9;
  c.d_model = 1;
  c.ngram_order = 4;
  c.ngram_buckets = 8;
  c.ngram_dropout = 0.25;
  const NgramEmbedding ngrams(c, DType::f32);
  const std::span<float> table = ngrams.weight.value().data<float>();
  std::fill(table.begin(), table.end(), 1.0f);
  ForwardContext ctx = pack_sequences({std::vector<int32_t>(20000, 3)});
  const Var x(Tensor::zeros({20000, 1}, DType::f32));
  const auto shares = [&] {
    std::vector<double> share(4, 0);
    for (const float kept : ngrams.add_to(x, ctx).value().data<float>())
      share[size_t(kept)] += 1.0 / 20000;
    return share;
  };
  EXPECT_EQ(shares(), (std::vector<double>{0, 0, 0, shares()[3]}));  // evaluation takes all
  ctx.training = true;
  const std::vector<double> share = shares();
  // Standard deviation at most sqrt(1/4 / 20,000) = 0.0035.
  EXPECT_NEAR(share[0], 0.25, 0.02);
  EXPECT_NEAR(share[1], 0.75 * 0.25, 0.02);
  EXPECT_NEAR(share[2], 0.75 * 0.75 * 0.25, 0.02);
  EXPECT_NEAR(share[3], 0.75 * 0.75 * 0.75, 0.02);
}

TEST(NgramOrder, OneIsRefused) {
  ModelConfig c;
  c.vocab_size = 5;
  c.ngram_order = 1;
  EXPECT_THROW(resolve_layers(c), Error);
}

}  // namespace
}  // namespace moe
