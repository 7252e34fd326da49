// SPDX-License-Identifier: MIT
// The report on experts: sums that must hold, a router that is made to separate two subjects, and
// the scripts of tokens.
#include "moe/eval/expert_report.h"

#include <cmath>
#include <gtest/gtest.h>
#include <numeric>

#include "moe/base/rng.h"
#include "moe/nn/init.h"

namespace moe {
namespace {

ModelConfig tiny() {
  ModelConfig c;
  c.n_layers = 2;
  c.d_model = 24;
  c.n_heads = 2;
  c.n_kv_heads = 2;
  c.head_dim = 12;
  c.max_seq_len = 20;
  c.vocab_size = 40;
  c.has_moe = true;
  c.moe.n_experts = 4;
  c.moe.d_ff = 8;
  return c;
}

// Sequences of two subjects: ids below 20, and from 20 on.
std::vector<LabelledSequence> two_subjects() {
  const RngStream rng(4, 0, "expert report");
  std::vector<LabelledSequence> out;
  for (int64_t s = 0; s < 40; ++s) {
    LabelledSequence sequence{{}, int32_t(s % 2)};
    for (int64_t t = 0; t < 15; ++t)
      sequence.ids.push_back(int32_t(rng.below(20, s, t)) + (s % 2 == 1 ? 20 : 0));
    out.push_back(sequence);
  }
  return out;
}

TEST(ExpertReport, SharesAndCountsAddUp) {
  const TransformerLM model(tiny());
  initialize(model, 2);
  ExpertReportOptions o;
  o.categories = {"low", "high"};
  o.mask_tokens = 7;
  const ExpertReport r = report_experts(model, two_subjects(), nullptr, o);
  EXPECT_EQ(r.tokens, 600);
  ASSERT_EQ(r.layers.size(), 2u);
  EXPECT_EQ(r.mask_tokens.size(), 7u);
  for (size_t l = 0; l < 2; ++l) {
    const ExpertLayerReport& layer = r.layers[l];
    EXPECT_NEAR(std::accumulate(layer.load_E.begin(), layer.load_E.end(), 0.0), 1, 1e-12);
    double picks = 0;
    for (size_t e = 0; e < 4; ++e) {
      picks += layer.counts_EC[e][0] + layer.counts_EC[e][1];
      // Two experts a token: beside itself an expert shares each of its tokens with one other.
      double others = 0;
      for (size_t f = 0; f < 4; ++f) others += f == e ? 0 : layer.together_EE[e][f];
      if (layer.load_E[e] > 0) {
        EXPECT_NEAR(others, 1, 1e-12);
        EXPECT_EQ(layer.together_EE[e][e], 1);
      }
    }
    EXPECT_EQ(picks, 1200);
    EXPECT_GE(layer.top1_mass, 0.25);
    EXPECT_GE(layer.margin, 0);
    EXPECT_LE(layer.router_entropy, std::log(4.0) + 1e-9);
    for (const auto& token : r.mask_LTE[l])
      EXPECT_EQ(std::accumulate(token.begin(), token.end(), 0.0), 2);
  }
}

// The embedding says the subject in one number, the gates read it.
TEST(ExpertReport, APlantedStructureIsFoundAndNoneIsNot) {
  const TransformerLM model(tiny());
  initialize(model, 2);
  ExpertReportOptions o;
  o.categories = {"low", "high"};
  std::vector<LabelledSequence> random = two_subjects();
  for (size_t s = 0; s < random.size(); ++s) {
    random[s].category = int32_t(Rng{9, 0}.stream("label").below(2, int64_t(s), 0));
    for (int32_t& id : random[s].ids) id %= 20;  // one subject under two names
  }
  EXPECT_FALSE(report_experts(model, random, nullptr, o).is_significant);
  for (const Parameter& p : model.parameters()) {
    if (p.role != Role::router && p.role != Role::embedding) continue;
    for (const Piece& piece : p.pieces) {
      const Tensor w = read_piece(p.var.value(), piece);
      for (int64_t row = 0; row < w.size(0); ++row)
        w.view().at<float>(row, 0) = p.role == Role::router ? (row < 2 ? 9.0f : -9.0f)
                                     : row < 20             ? 3.0f
                                                            : -3.0f;
      write_piece(p.var.value(), piece, w);
    }
  }
  const ExpertReport planted = report_experts(model, two_subjects(), nullptr, o);
  EXPECT_TRUE(planted.is_significant);
  EXPECT_GT(planted.specialization.nmi, 0.3);
}

TEST(ExpertReport, ADenseModelAndNoTokensAreRefused) {
  ModelConfig c = tiny();
  const TransformerLM model(c);
  EXPECT_THROW(report_experts(model, {}, nullptr, {}), Error);
  c.has_moe = false;
  EXPECT_THROW(report_experts(TransformerLM(c), two_subjects(), nullptr, {}), Error);
}

TEST(RouterLogits, LayersTokensExperts) {
  const TransformerLM model(tiny());
  initialize(model, 2);
  const Tensor logits = router_logits(model, {std::vector<int32_t>(33, 5), {1, 2}});
  EXPECT_EQ(logits.shape(), (Shape{2, 35, 4}));
}

TEST(Scripts, OfTokens) {
  const auto name = [](const char* text) { return script_names()[size_t(script_of(text))]; };
  EXPECT_EQ(name("  \n"), "whitespace");
  EXPECT_EQ(name(" the"), "Latin");
  EXPECT_EQ(name("42"), "digits");
  EXPECT_EQ(name(","), "punctuation");
  EXPECT_EQ(name("\xD0\x96"), "Cyrillic");
  EXPECT_EQ(name("\xE6\xBC\xA2"), "Han");
  EXPECT_EQ(name("\xFF"), "other");
}

// Random counts of 40 sequences, no structure: at most 2 % above their 99th percentile.
TEST(Specialization, OfAThousandRandomMatricesFewAreCalledSignificant) {
  const RngStream rng(3, 0, "random specialisation");
  int significant = 0;
  for (int64_t trial = 0; trial < 1000; ++trial) {
    std::vector<SequencePicks> sequences;
    for (int64_t s = 0; s < 40; ++s) {
      SequencePicks picks{int32_t(rng.below(4, trial, s)), std::vector<int64_t>(6, 0)};
      // Tokens of one sequence route alike.
      const uint64_t favourite = rng.below(6, trial, 1000 + s);
      for (int64_t t = 0; t < 20; ++t)
        ++picks.counts_E[rng.below(2, trial, 2000 + s * 20 + t) == 0
                             ? favourite
                             : rng.below(6, trial, 4000 + s * 20 + t)];
      sequences.push_back(picks);
    }
    const Specialization s = measure_specialization({sequences}, 4, 200, uint64_t(trial));
    significant += s.nmi > s.shuffled_p99;
  }
  EXPECT_LE(significant, 20);
}

}  // namespace
}  // namespace moe
