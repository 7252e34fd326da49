// SPDX-License-Identifier: MIT
#include "moe/infer/generate.h"

#include <gtest/gtest.h>

#include "moe/nn/init.h"

namespace moe {
namespace {

TransformerLM random_model() {
  ModelConfig c;
  c.n_layers = 2;
  c.d_model = 16;
  c.n_heads = c.n_kv_heads = 2;
  c.head_dim = 8;
  c.d_ff = 24;
  c.max_seq_len = 30;
  c.vocab_size = 20;
  TransformerLM model(c);
  initialize(model, 9);
  return model;
}

GenerateRequest request(std::vector<int32_t> prompt, int64_t n, double temperature,
                        int64_t key = 0) {
  return {.prompt_ids = std::move(prompt),
          .max_new_tokens = n,
          .sampler = {.temperature = temperature},
          .stop_ids = {},
          .key = key};
}

TEST(Generate, ARequestDoesNotDependOnItsNeighbours) {
  const TransformerLM model = random_model();
  const std::vector<GenerateRequest> all = {request({1, 2, 3}, 12, 1, 0), request({4}, 5, 1, 1),
                                            request({5, 6, 7, 8, 9, 10, 11}, 20, 1, 2)};
  const std::vector<GenerateResult> together = generate(model, all);
  for (size_t i = 0; i < all.size(); ++i)
    EXPECT_EQ(generate(model, {all[i]})[0].ids, together[i].ids);
}

TEST(Generate, EndsAtStopIdsAtTheLengthAndAtTheContext) {
  const TransformerLM model = random_model();
  const GenerateResult greedy = generate(model, {request({1, 2, 3}, 6, 0)})[0];
  EXPECT_EQ(greedy.ids.size(), 6u);
  EXPECT_EQ(greedy.reason, FinishReason::length);
  GenerateRequest stop = request({1, 2, 3}, 6, 0);
  stop.stop_ids = {greedy.ids[0]};
  EXPECT_TRUE(generate(model, {stop})[0].ids.empty());
  EXPECT_EQ(generate(model, {stop})[0].reason, FinishReason::stop);
  // 30 positions: a prompt of 28 leaves room for three new ids (the last needs no position).
  EXPECT_EQ(generate(model, {request(std::vector<int32_t>(28, 1), 99, 0)})[0].ids.size(), 3u);
}

TEST(Generate, RefusesWhatCannotRun) {
  const TransformerLM model = random_model();
  EXPECT_THROW(generate(model, {request({}, 5, 0)}), Error);
  EXPECT_THROW(generate(model, {request({20}, 5, 0)}), Error);
  EXPECT_THROW(generate(model, {request({-1}, 5, 0)}), Error);
  EXPECT_THROW(generate(model, {request(std::vector<int32_t>(31, 1), 5, 0)}), Error);
}

TEST(Sampler, KeepsTheSetsOfThePublishedExample) {
  // z = [2, 1, .5, -1, -3]: probabilities .607 .223 .135 .030 .004
  const std::vector<float> z = {2, 1, 0.5f, -1, -3};
  auto kept = [&](SamplerConfig config) {
    std::vector<bool> seen(5);
    config.temperature = 1;
    for (int64_t i = 0; i < 4000; ++i) seen[size_t(sample_token(z, config, 0, i))] = true;
    return std::count(seen.begin(), seen.end(), true);
  };
  EXPECT_EQ(kept({.top_k = 0, .top_p = 0.5}), 1);
  EXPECT_EQ(kept({.top_k = 0, .top_p = 0.7}), 2);
  EXPECT_EQ(kept({.top_k = 0, .top_p = 0.9}), 3);
  EXPECT_EQ(kept({.top_k = 0, .top_p = 1, .min_p = 0.1}), 3);
  EXPECT_EQ(kept({.top_k = 2, .top_p = 1}), 2);
  EXPECT_EQ(kept({.top_k = 0, .top_p = 1}), 5);
}

TEST(Sampler, DrawsWithTheRightFrequencies) {
  const std::vector<float> z = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  std::vector<int> counts(3);
  for (int64_t i = 0; i < 20000; ++i)
    counts[size_t(sample_token(z, {.temperature = 1, .top_k = 0, .top_p = 1}, 1, i))] += 1;
  // Standard deviation of a share: sqrt(.5 * .5 / 20000) = 0.0035; five of them.
  EXPECT_NEAR(counts[0] / 20000.0, 0.5, 0.018);
  EXPECT_NEAR(counts[1] / 20000.0, 0.3, 0.018);
}

TEST(Sampler, RefusesNonsense) {
  EXPECT_THROW(sample_token(std::vector<float>{NAN, 1}, {}, 0, 0), Error);
  EXPECT_THROW(sample_token(std::vector<float>{-INFINITY, -INFINITY}, {}, 0, 0), Error);
  EXPECT_THROW(check_sampler({.top_p = 0}), Error);
  EXPECT_THROW(check_sampler({.temperature = -1}), Error);
}

}  // namespace
}  // namespace moe
