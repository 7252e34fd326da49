// SPDX-License-Identifier: MIT
// The forward pass of every family against transformers: logits, hidden states, routes, loss and
// greedy continuation.
//
// Tolerances: transformers' own float32 differs from its float64 by up to 7.4e-6 in a logit (their
// standard deviation is about 1.2), and another order of summation by as much again; a wrong
// constant (eps, theta, a multiplier) moves some logit by more than 1e-2.
#include <cmath>

#include "moe/infer/generate.h"

#include "tests/families/oracle.h"
#include "tests/families/scratch_folder.h"

namespace moe {
namespace {

constexpr double kLogitTolerance = 5e-5, kLossTolerance = 1e-5;

class ForwardOracle : public testing::TestWithParam<std::string> {};

void expect_logits(const Oracle& oracle, const TransformerLM& model, double tolerance) {
  for (size_t i = 0; i < oracle.input_ids.size(); ++i) {
    const LmOutput out = model(pack_sequences({oracle.input_ids[i]}));
    const Tensor logits_TV = model.logits(out.hidden_TD).value();
    const double error = max_difference(logits_TV, oracle.tensors.tensor(str("logits.", i)));
    EXPECT_LE(error, tolerance) << "sequence " << i;
    testing::Test::RecordProperty(str("max_error_", i), str(error));
  }
}

TEST_P(ForwardOracle, LogitsInFloat32) {
  const Oracle oracle(GetParam());
  expect_logits(oracle, *load_model_folder(oracle.folder).model, kLogitTolerance);
}

// In double only the golden file's rounding to float32 is left: logits are below 16, half a unit in
// the last place is 4.8e-7.
TEST_P(ForwardOracle, LogitsInFloat64) {
  const Oracle oracle(GetParam());
  expect_logits(oracle, *load_model_folder(oracle.folder, DType::f64).model, 5e-7);
}

TEST_P(ForwardOracle, TheOlderSpellingOfTheConfigGivesTheSameModel) {
  const Oracle oracle(GetParam());
  const ScratchFolder older;
  older.copy(join_path(oracle.folder, "config_v4.json"), "config.json");
  EXPECT_EQ(read_model_config(older.path()), read_model_config(oracle.folder));
}

TEST_P(ForwardOracle, HiddenStates) {
  const Oracle oracle(GetParam());
  const ModelFolder folder = load_model_folder(oracle.folder);
  const LmOutput out = (*folder.model)(pack_sequences({oracle.input_ids[1]}), true);
  const int64_t n_layers = folder.model->config().n_layers;
  ASSERT_EQ(int64_t(out.residual_TD.size()), n_layers);
  for (int64_t l = 0; l <= n_layers; ++l)
    EXPECT_LE(max_difference(l < n_layers ? out.residual_TD[size_t(l)] : out.hidden_TD.value(),
                             oracle.tensors.tensor(str("hidden.", l, ".1"))),
              kLogitTolerance)
        << "before layer " << l;
}

TEST_P(ForwardOracle, Loss) {
  const Oracle oracle(GetParam());
  const ModelFolder folder = load_model_folder(oracle.folder);
  for (size_t i = 0; i < oracle.input_ids.size(); ++i) {
    const LmOutput out = (*folder.model)(pack_sequences({oracle.input_ids[i]}));
    const Var loss = next_token_loss(*folder.model, out, {oracle.input_ids[i]});
    EXPECT_NEAR(loss.value().data<double>()[0], oracle.loss[i], kLossTolerance);
  }
}

// Each token's experts in the order of falling weight, and the weights.
void expect_routes(const Oracle& oracle, const LayerReport& report, const MoeConfig& moe,
                   size_t sequence) {
  const Tensor index_TK =
      oracle.tensors.tensor(str("router.", report.layer, ".indices.", sequence));
  const Tensor weight_TK =
      oracle.tensors.tensor(str("router.", report.layer, ".weights.", sequence));
  const int64_t T = index_TK.size(0), K = index_TK.size(1), E = moe.n_experts;
  ASSERT_EQ(int64_t(report.picks.size()), T * K);
  const Tensor logits_TE = report.router_logits_TE.value();
  auto unnormalised = [&](int64_t t, int64_t e) { return std::exp(element(logits_TE, t * E + e)); };
  for (const Pick& pick : report.picks) {
    const int64_t t = pick.token, at = t * K + pick.choice;
    EXPECT_EQ(pick.expert, index_TK.data<int32_t>()[size_t(at)])
        << "token " << t << ", choice " << pick.choice;
    double sum = 0;
    if (moe.norm_topk_prob)
      for (int64_t k = 0; k < K; ++k)
        sum += unnormalised(t, index_TK.data<int32_t>()[size_t(t * K + k)]);
    else
      for (int64_t e = 0; e < E; ++e) sum += unnormalised(t, e);
    // Router logits are right to 5e-5 and a weight is at most 1.
    EXPECT_NEAR(unnormalised(t, pick.expert) / sum, element(weight_TK, at), 5e-5);
  }
}

TEST_P(ForwardOracle, RoutesAndRouterWeights) {
  const Oracle oracle(GetParam());
  const ModelFolder folder = load_model_folder(oracle.folder);
  const ModelConfig& config = folder.model->config();
  for (size_t i = 0; i < oracle.input_ids.size(); ++i) {
    const LmOutput out = (*folder.model)(pack_sequences({oracle.input_ids[i]}));
    ASSERT_EQ(out.moe_layers.size(), oracle.moe_layers.size());
    for (size_t l = 0; l < out.moe_layers.size(); ++l) {
      ASSERT_EQ(out.moe_layers[l].layer, oracle.moe_layers[l]);
      expect_routes(oracle, out.moe_layers[l], config.moe, i);
    }
  }
}

TEST_P(ForwardOracle, GreedyContinuationWithTheCache) {
  const Oracle oracle(GetParam());
  const ModelFolder folder = load_model_folder(oracle.folder);
  std::vector<GenerateRequest> requests;
  for (size_t i = 0; i < oracle.input_ids.size(); ++i)
    requests.push_back({.prompt_ids = oracle.input_ids[i],
                        .max_new_tokens = int64_t(oracle.greedy[i].size()),
                        .sampler = {.temperature = 0},
                        .stop_ids = {}});
  const std::vector<GenerateResult> results = generate(*folder.model, requests);
  for (size_t i = 0; i < results.size(); ++i) EXPECT_EQ(results[i].ids, oracle.greedy[i]);
}

INSTANTIATE_TEST_SUITE_P(Families, ForwardOracle, testing::ValuesIn(oracle_names()),
                         [](const testing::TestParamInfo<std::string>& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace moe
