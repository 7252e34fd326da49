// SPDX-License-Identifier: MIT
// Balance losses by name: known values, gradients against central differences, transformers' own
// function, and what a micro-batch or a sequence may see.
#include "moe/nn/moe/aux_loss.h"

#include "moe/base/fs.h"
#include "moe/base/json.h"
#include "moe/nn/moe/assignment_router.h"
#include "moe/nn/moe/balance_losses.h"
#include "moe/ops/elementwise.h"
#include "moe/ops/softmax.h"

#include "router_testing.h"
#include "tests/ops/gradient_check.h"

namespace moe {
namespace {

using testing::context;
using testing::expect_gradients;
using testing::identity_router;
using testing::matrix;
using testing::Rows;
using testing::scalar;
using Inputs = std::vector<Var>;

// Values of these logits by PyTorch in float64, to nine places.
const Rows kLogits = {{2, 1, 0, -1}, {.3, 1.7, -.4, .9}, {-1.2, .6, 2.1, .2}, {1.1, -.7, .4, 1.6}};

MoeConfig config(const std::string& loss, int64_t k = 2) {
  MoeConfig c;
  c.n_experts = 4;
  c.top_k = k;
  c.balance_loss = loss;
  c.aux_loss_weight = 1;
  c.z_loss_weight = 0;
  return c;
}

double loss_of(const MoeConfig& c, const std::vector<int64_t>& lengths = {4}) {
  return scalar(identity_router(c)->route(Var(matrix(kLogits)), context(lengths)).aux_loss);
}

TEST(AuxLoss, ValuesOfEachName) {
  EXPECT_NEAR(loss_of(config("switch", 1)), 1.0, 1e-9);
  EXPECT_NEAR(loss_of(config("switch")), 0.9976413856, 1e-10);
  EXPECT_NEAR(loss_of(config("gshard", 1)), 0.0625, 1e-9);
  EXPECT_NEAR(loss_of(config("gshard", 2)), 0.0625, 1e-9);  // first choices only
  EXPECT_NEAR(loss_of(config("importance_load")), 1.0404708688, 1e-10);
  EXPECT_NEAR(loss_of(config("cv2")), .017402140634 + 0.125, 1e-11);  // counts 2 3 1 2
  EXPECT_EQ(loss_of(config("hf")), 0);  // of the model, not of a layer
  MoeConfig c = config("switch");
  c.aux_loss_weight = 0;
  c.router_l2_weight = 1;
  EXPECT_NEAR(loss_of(c), 1.28875, 1e-12);
}

TEST(AuxLoss, PoolOfOneLayerIsTheUnnormalisedForm) {
  const Tensor z = matrix(kLogits);
  EXPECT_NEAR(scalar(pooled_balance_loss({Var(z)}, {2, 3, 1, 2}, context({4}))), 1.9952827713,
              1e-10);
}

TEST(AuxLoss, AgreesWithTransformersOnFiftyCases) {
  const Json cases = read_json(MOE_GOLDEN_DIR "/nn/hf_balance_loss.json", "[golden]");
  ASSERT_EQ(cases.as_array().size(), 50u);
  for (const Json& one : cases.as_array()) {
    const int64_t E = one.at("experts").to_number<int64_t>(), k = one.at("k").to_number<int64_t>();
    std::vector<uint8_t> valid;
    for (const Json& v : one.at("valid").as_array())
      valid.push_back(uint8_t(v.to_number<int64_t>()));
    ForwardContext ctx = context({int64_t(valid.size())});
    ctx.valid_T = Tensor::from<uint8_t>({int64_t(valid.size())}, valid);
    std::vector<Var> layers;
    std::vector<int64_t> counts_E(size_t(E), 0);
    for (const Json& layer : one.at("logits").as_array()) {
      Rows rows;
      for (const Json& row : layer.as_array()) {
        rows.emplace_back();
        for (const Json& z : row.as_array()) rows.back().push_back(z.to_number<double>());
      }
      layers.emplace_back(matrix(rows));
      for (const Pick& p : top_k_picks(layers.back().value(), k, ctx))
        counts_E[size_t(p.expert)] += 1;
    }
    EXPECT_NEAR(scalar(pooled_balance_loss(layers, counts_E, ctx)),
                one.at("loss").to_number<double>(), 1e-6);
  }
}

TEST(AuxLoss, GradientsAreTheCentralDifferences) {
  const Tensor z = matrix(kLogits);
  const Picks picks = {{0, 0, 0}, {0, 3, 1}, {1, 0, 1}, {1, 1, 0},
                       {1, 2, 1}, {2, 2, 0}, {3, 1, 1}, {3, 3, 0}};
  const Tensor w = matrix({{.7}, {.4}, {.3}, {.6}, {.2}, {.8}, {.4}, {.6}});
  expect_gradients({w}, [&](const Inputs& in) {
    return importance_load_loss(in[0], picks, {2, 3, 1, 2});
  });
  expect_gradients({w}, [&](const Inputs& in) { return importance_cv2(in[0], picks, 4); });
  expect_gradients({z}, [&](const Inputs& in) { return router_l2(in[0], context({4})); });
  expect_gradients({z, matrix(Rows(kLogits.rbegin(), kLogits.rend()))}, [&](const Inputs& in) {
    return pooled_balance_loss({in[0], in[1]}, {4, 6, 2, 4}, context({4}));
  });
  // Whole routers: counts do not move at these steps.
  for (const std::string& name : balance_loss_names()) {
    if (name == "hf") continue;
    for (const char* router : {"top_k", "sigmoid_bias", "longcat", "group_limited", "cosine"}) {
      SCOPED_TRACE(name + " " + router);
      MoeConfig c = config(name);
      c.router = router;
      c.z_loss_weight = 0.1;
      c.router_l2_weight = 0.2;
      c.n_devices = 2;
      c.device_loss_weight = 0.5;
      c.communication_loss_weight = 0.3;
      const auto made = make_router(c, 4, DType::f64);
      expect_gradients({z}, [&](const Inputs& in) {
        return made->route_logits(in[0], context({2, 2})).aux_loss;
      });
    }
  }
}

// Two sequences, each balanced badly in the opposite way, look balanced together.
TEST(AuxLoss, EachSequenceIsSeenAlone) {
  const Rows opposite = {{3, 0, 0, 0}, {3, 0, 0, 0}, {0, 3, 0, 0}, {0, 3, 0, 0}};
  const auto loss = [&](const char* name, const std::vector<int64_t>& lengths) {
    return scalar(
        identity_router(config(name, 1))->route(Var(matrix(opposite)), context(lengths)).aux_loss);
  };
  EXPECT_NEAR(loss("switch_sequence", {4}), loss("switch", {4}), 1e-14);
  EXPECT_NEAR(loss("switch", {2, 2}), loss("switch", {4}), 1e-14);
  const double top = std::exp(3) / (std::exp(3) + 3);
  EXPECT_NEAR(loss("switch_sequence", {2, 2}), 4 * top, 1e-12);
}

TEST(AuxLoss, CountsOfEarlierMicroBatchesJoin) {
  ForwardContext ctx = context({4});
  ctx.layer = 2;
  auto counts = std::make_shared<std::map<int, std::vector<int64_t>>>();
  (*counts)[2] = {8, 0, 0, 0};
  ctx.step_counts = counts;
  const Var z(matrix(kLogits));
  const auto router = identity_router(config("switch_global"));
  const double joined = scalar(router->route(z, ctx).aux_loss);
  const Var p = ops::softmax(z);
  EXPECT_NEAR(joined, scalar(switch_loss(p, {10, 3, 1, 2}, ctx)), 1e-14);
  ctx.layer = 1;  // another layer's counts do not count
  EXPECT_NEAR(scalar(router->route(z, ctx).aux_loss), 0.9976413856, 1e-10);
}

// Six experts on three devices, two picks a token: [0 1] on one device, then [0 2], then [4 5].
TEST(AuxLoss, DevicesAreBalancedAsDeepSeekV2Says) {
  MoeConfig c = config("switch");
  c.n_experts = 6;
  c.n_devices = 3;
  c.aux_loss_weight = 0;
  const Rows z = {{3, 2, 0, 0, 0, 0}, {3, 0, 2, 0, 0, 0}, {0, 0, 0, 0, 2, 3}};
  const auto router = [&] { return identity_router(c); };
  double P[3] = {0, 0, 0};
  for (const auto& row : z) {
    double sum = 0;
    for (const double v : row) sum += std::exp(v);
    for (size_t e = 0; e < 6; ++e) P[e / 2] += std::exp(row[e]) / sum / 3;
  }
  c.device_loss_weight = 1;  // f_e = E n_e / (T k) = n_e; group means 3/2, 1/2, 1
  EXPECT_NEAR(scalar(router()->route(Var(matrix(z)), context({3})).aux_loss),
              1.5 * P[0] + .5 * P[1] + 1 * P[2], 1e-12);
  c.device_loss_weight = 0;
  c.communication_loss_weight = 1;  // D / (M T) = 3 / (2 x 3) times tokens 2, 1, 1
  EXPECT_NEAR(scalar(router()->route(Var(matrix(z)), context({3})).aux_loss),
              1 * P[0] + .5 * P[1] + .5 * P[2], 1e-12);
}

TEST(AuxLoss, NamesThatARouterCannotFollowAreRefused) {
  ModelConfig m;
  m.has_moe = true;
  m.moe.balance_loss = "cv2";
  EXPECT_NO_THROW(resolve_layers(m));
  for (const char* router : {"noisy_top_k", "base", "relu", "hash", "expert_choice", "quantile"}) {
    m.moe.router = router;
    EXPECT_THROW(resolve_layers(m), Error) << router;
  }
}

}  // namespace
}  // namespace moe
