// SPDX-License-Identifier: MIT
// One small case by every router and loss, four tokens and four experts: values worked out in
// float64 with PyTorch, gradients also checked by central differences there, printed to nine
// places.
#include "moe/nn/moe/balance_losses.h"
#include "moe/nn/moe/score_ops.h"

#include "router_testing.h"

namespace moe {
namespace {

using testing::context;
using testing::matrix;
using testing::Rows;
using testing::scalar;

const Rows kLogits = {{2, 1, 0, -1}, {.3, 1.7, -.4, .9}, {-1.2, .6, 2.1, .2}, {1.1, -.7, .4, 1.6}};
// Gradient of the weight of a token's first and second choice.
const Rows kUpstream = {{.5, -1}, {2, .25}, {-.75, 1.5}, {1, 3}};
constexpr double kPlaces = 1e-9;

MoeConfig config(const char* router) {
  MoeConfig c;
  c.router = router;
  c.n_experts = 4;
  c.top_k = 2;
  c.router_jitter = 0;
  c.aux_loss_weight = 1;
  c.z_loss_weight = 0;
  return c;
}

struct Result {
  Routing routing;
  Rows experts, weights, dz;  // choices in order; dz: gradient of sum(upstream * weights)
};

Result run(const MoeConfig& c, const std::vector<double>& bias = {}, bool training = false) {
  const auto router = make_router(c, 4, DType::f64);
  if (!bias.empty())
    for (const Buffer& b : testing::buffers_of(*router))
      for (size_t e = 0; e < 4; ++e) b.value.data<float>()[e] = float(bias[e]);
  ForwardContext ctx = context({4});
  ctx.training = training;
  const Var logits(matrix(kLogits), true);
  Result out;
  Tape tape;
  out.routing = router->route_logits(logits, ctx);
  out.experts = out.weights = Rows(4);
  const Picks& picks = out.routing.picks;
  for (int32_t choice = 0; choice < 4; ++choice)
    for (size_t a = 0; a < picks.size(); ++a)
      if (picks[a].choice == choice) {
        const size_t t = size_t(picks[a].token);
        out.experts[t].push_back(picks[a].expert);
        out.weights[t].push_back(out.routing.weight_A1.value().data<double>()[a]);
        if (choice < 2)
          out.routing.weight_A1.grad().data<double>()[a] = kUpstream[t][size_t(choice)];
      }
  tape.backward_from_grads();
  for (int64_t t = 0; t < 4; ++t) {
    const std::span<double> row = logits.grad().rows(t, t + 1).data<double>();
    out.dz.emplace_back(row.begin(), row.end());
  }
  return out;
}

void expect_near(const Rows& got, const Rows& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t t = 0; t < want.size(); ++t) {
    ASSERT_EQ(got[t].size(), want[t].size()) << "token " << t;
    for (size_t i = 0; i < want[t].size(); ++i)
      EXPECT_NEAR(got[t][i], want[t][i], kPlaces) << "token " << t << ", " << i;
  }
}

const Rows kBest = {{0, 1}, {1, 3}, {2, 1}, {3, 0}};
const Rows kNormalised = {{.731058579, .268941421},
                          {.689974481, .310025519},
                          {.817574476, .182425524},
                          {.622459331, .377540669}};
const Rows kNormalisedGradient = {{.294917900, -.294917900, 0, 0},
                                  {0, .374341969, 0, -.374341969},
                                  {0, .335579517, -.335579517, 0},
                                  {.470007424, 0, 0, -.470007424}};

TEST(RouterGolden, TopKAsItIs) {
  MoeConfig c = config("top_k");
  c.norm_topk_prob = false;
  const Result r = run(c);
  expect_near(r.experts, kBest);
  expect_near(r.weights, {{.643914260, .236882818},
                          {.549939344, .247103676},
                          {.709430198, .158295274},
                          {.498012007, .302059551}});
  expect_near(r.dz, {{.267176567, -.257035461, -.007413743, -.002727364},
                     {-.157535899, .461039116, -.078230012, -.225273204},
                     {.007709291, .284081406, -.323053415, .031262718},
                     {.482029453, -.070111391, -.210626260, -.201291802}});
}

TEST(RouterGolden, TopKNormalisedBeforeAndAfterTheChoice) {
  for (const char* softmax : {"before_topk", "after_topk"}) {
    SCOPED_TRACE(softmax);
    MoeConfig c = config("top_k");
    c.softmax = softmax;
    const Result r = run(c);
    expect_near(r.experts, kBest);
    expect_near(r.weights, kNormalised);
    expect_near(r.dz, kNormalisedGradient);
    EXPECT_NEAR(scalar(r.routing.aux_loss), 0.9976413856, kPlaces);
    EXPECT_EQ(r.routing.stats.counts_E, (std::vector<int64_t>{2, 3, 1, 2}));
  }
}

TEST(RouterGolden, TwoOfEightProbabilities) {
  const Rows tenths = {{.3, .1, .05, .25, .08, .12, .05, .05}};
  Rows logits = tenths;
  for (double& v : logits[0]) v = std::log(v);
  MoeConfig c = config("top_k");
  c.n_experts = 8;
  const Routing r = make_router(c, 8, DType::f64)->route_logits(Var(matrix(logits)), context({1}));
  ASSERT_EQ(r.picks.size(), 2u);
  EXPECT_EQ(r.picks[0], (Pick{0, 0, 0}));
  EXPECT_EQ(r.picks[1], (Pick{3, 0, 1}));
  EXPECT_NEAR(r.weight_A1.value().data<double>()[0], .3 / .55, 1e-15);  // .545
  EXPECT_NEAR(r.weight_A1.value().data<double>()[1], .25 / .55, 1e-15);
}

TEST(RouterGolden, SwitchLossAndItsGradient) {
  EXPECT_NEAR(scalar(run(config("switch")).routing.aux_loss), 1, 1e-15);
  const Var logits(matrix(kLogits), true);
  Tape tape;
  const Routing r = make_router(config("top_k"), 4, DType::f64)->route_logits(logits, context({4}));
  tape.backward(r.aux_loss);
  const std::vector<double> want = {-.012052344, .025176543, -.012524147, -.000600051};
  for (size_t e = 0; e < 4; ++e) EXPECT_NEAR(logits.grad().data<double>()[e], want[e], kPlaces);
}

TEST(RouterGolden, ZLossAndItsGradient) {
  const Var logits(matrix(kLogits), true);
  Tape tape;
  const Var z = router_z_loss(logits, context({4}));
  EXPECT_NEAR(scalar(z), 5.6203950694, kPlaces);
  tape.backward(z);
  const std::vector<double> want = {.785636472, .289019506, .106324334, .039114537};
  for (size_t e = 0; e < 4; ++e) EXPECT_NEAR(logits.grad().data<double>()[e], want[e], kPlaces);
}

TEST(RouterGolden, Entropies) {
  const RouterStats stats = run(config("top_k")).routing.stats;
  EXPECT_NEAR(stats.entropy_sum, .947536964 + 1.126910529 + .868690128 + 1.142998117, 4 * kPlaces);
  double marginal = 0;
  for (const double sum : stats.prob_sum_E) marginal -= sum / 4 * std::log(sum / 4);
  EXPECT_NEAR(marginal, 1.3830920638, kPlaces);
}

TEST(RouterGolden, SigmoidWithABias) {
  MoeConfig c = config("sigmoid_bias");
  c.routed_scaling_factor = 2.5;
  const Result r = run(c, {0, .1, -.1, .3});
  expect_near(r.experts, {{0, 1}, {3, 1}, {3, 2}, {3, 0}});
  // Float32 bias moves who is chosen, never the weight.
  expect_near(r.weights, {{1.366122758, 1.133877242},
                          {1.141915680, 1.358084320},
                          {.954084490, 1.545915510},
                          {1.314589040, 1.185410960}});
  expect_near(r.dz, {{.110788305, -.249956659, 0, 0},
                     {0, -.167683236, 0, .313785255},
                     {0, 0, .144819551, -.597568633},
                     {.311341387, 0, 0, -.209416398}});
  const Result unbiased = run(config("sigmoid_bias"));
  expect_near(unbiased.experts, kBest);
  EXPECT_NEAR(scalar(unbiased.routing.aux_loss), 1.0075579102, kPlaces);
}

TEST(RouterGolden, TheBiasMovesByItsStep) {
  MoeConfig c = config("sigmoid_bias");
  c.bias_update_rate = .001;
  const auto router = make_router(c, 4, DType::f64);
  const Tensor bias = testing::buffers_of(*router).at(0).value;
  const std::vector<float> start = {0, .1f, -.1f, .3f};
  std::copy(start.begin(), start.end(), bias.data<float>().begin());
  RouterTotals totals(4);
  totals.n_tokens = 4;
  totals.counts_E = {2, 2, 1, 3};
  router->after_step(totals);
  const std::vector<double> want = {0, .1, -.099, .299};
  for (size_t e = 0; e < 4; ++e) EXPECT_NEAR(bias.data<float>()[e], want[e], 1e-7);  // float32
}

TEST(RouterGolden, ExpertChoice) {
  const Routing r = run(config("expert_choice")).routing;
  const std::vector<std::pair<int, int>> want = {{0, 0}, {0, 3}, {1, 0}, {1, 1},
                                                 {2, 2}, {2, 3}, {3, 1}, {3, 3}};
  const std::vector<double> gates = {.643914260, .302059551, .236882818, .549939344,
                                     .709430198, .149998334, .247103676, .498012007};
  ASSERT_EQ(r.picks.size(), want.size());
  for (size_t a = 0; a < want.size(); ++a) {
    EXPECT_EQ(std::pair(r.picks[a].expert, r.picks[a].token), want[a]);
    EXPECT_NEAR(r.weight_A1.value().data<double>()[a], gates[a], kPlaces);
  }
}

TEST(RouterGolden, TopP) {
  MoeConfig c = config("top_p");
  c.threshold = .4;
  expect_near(run(c).experts, {{0}, {1}, {2}, {3}});
  c.threshold = .7;
  expect_near(run(c).experts, {{0, 1}, {1, 3}, {2}, {3, 0}});
}

TEST(RouterGolden, ReluSparsityAndItsLoss) {
  const RouterStats stats = run(config("relu")).routing.stats;
  int64_t open = 0;
  for (const int64_t n : stats.counts_E) open += n;
  EXPECT_EQ(1 - double(open) / 16, .3125);
  EXPECT_NEAR(stats.balance_loss / double(1e-8f), 4.15, 1e-12);
}

TEST(RouterGolden, QuantileProposal) {
  const std::vector<float> zero(4, 0);
  const std::vector<double> proposal = quantile_proposal(matrix(kLogits), zero, 2, context({4}));
  const std::vector<double> want = {0, .4, 0, 0};
  for (size_t e = 0; e < 4; ++e) EXPECT_NEAR(proposal[e], want[e], 1e-15);
  const auto router = make_router(config("quantile"), 4, DType::f64);
  ForwardContext ctx = context({4});
  ctx.training = true;
  router->after_step(router->route_logits(Var(matrix(kLogits)), ctx).stats);
  const std::vector<double> centred = {-.1, .3, -.1, -.1};
  for (size_t e = 0; e < 4; ++e)
    EXPECT_NEAR(testing::buffers_of(*router).at(0).value.data<float>()[e], centred[e], 1e-7);
}

TEST(RouterGolden, ImportanceAndNoisyLoad) {
  EXPECT_NEAR(CvSquared({1.108599247, 1.141341426, .817574476, .932484850}).value(), .017402140634,
              kPlaces);
  const Rows draws = {{.1, -.3, .2, .4}, {-.2, .5, .1, -.1}, {.3, .2, -.4, 0}, {0, .1, .6, -.5}};
  Rows noisy = kLogits;
  for (size_t t = 0; t < 4; ++t)
    for (size_t e = 0; e < 4; ++e) noisy[t][e] += .5 * draws[t][e];
  const std::vector<double> load = noisy_load(matrix(kLogits), matrix(noisy),
                                              matrix(Rows(4, std::vector<double>(4, .5))), 2,
                                              context({4})),
                            want = {1.923810662, 2.751023493, 1.131459439, 2.042076075};
  for (size_t e = 0; e < 4; ++e) EXPECT_NEAR(load[e], want[e], kPlaces);
  EXPECT_NEAR(CvSquared(load).value(), .0857332837, kPlaces);
}

TEST(RouterGolden, Sinkhorn) {
  std::vector<double> z;
  for (const auto& row : kLogits) z.insert(z.end(), row.begin(), row.end());
  const std::vector<double> balanced = sinkhorn(z, 4);
  const std::vector<double> row_sums = {.249989918, .24999637, .250014939, .249998733};
  for (size_t t = 0; t < 4; ++t) {
    double sum = 0;
    for (size_t e = 0; e < 4; ++e) sum += balanced[4 * t + e];
    EXPECT_NEAR(sum, row_sums[t], kPlaces);
  }
}

// Slots 0, 1 of expert 0 and 2, 3 of expert 1; experts x W0 and x W1.
TEST(RouterGolden, SoftSlots) {
  MoeConfig c = config("soft_slots");
  c.n_experts = 2;
  c.slots_per_expert = 2;
  const auto router = make_router(c, 2, DType::f64);
  const Parameter phi = testing::parameters_of(*router).at(0);
  write_piece(phi.var.value(), phi.pieces.at(0), matrix({{.2, .7}, {-.4, .1}, {1, -.3}, {.5, .9}}));
  const Tensor x = matrix({{1, .5}, {-.5, 2}, {.3, -1}});
  const Routing r = router->route(Var(x), context({3}));
  const Tensor slots = r.dispatch->dispatch(Var(x)).rows_RD().value();
  EXPECT_NEAR(slots.data<double>()[0], .00957739, 1e-8);
  EXPECT_NEAR(slots.data<double>()[1], 1.294794579, kPlaces);
  const Tensor y = Tensor::empty({4, 2}, DType::f64);
  const double w[2][2][2] = {{{1, 0}, {0, 2}}, {{.5, -1}, {1, 0}}};
  for (int64_t row = 0; row < 4; ++row)
    for (int64_t j = 0; j < 2; ++j)
      y.view().at<double>(row, j) = slots.view().at<double>(row, 0) * w[row / 2][0][j] +
                                    slots.view().at<double>(row, 1) * w[row / 2][1][j];
  const Tensor out = r.dispatch->combine(Var(y), Var(x)).value();
  const Rows want = {{.577085008, .562181897}, {.642836177, 1.136217970}, {.344694672, .440397177}};
  for (int64_t t = 0; t < 3; ++t)
    for (int64_t j = 0; j < 2; ++j)
      EXPECT_NEAR(out.view().at<double>(t, j), want[size_t(t)][size_t(j)], kPlaces);
}

// Every assignment of 7 tokens to 3 experts with at most 3 each, by brute force.
TEST(BalancedAssignment, IsTheBestOfAll) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    constexpr size_t kT = 7, kE = 3, kRoom = 3;
    const RngStream rng(seed, 0, "assignment");
    std::vector<double> scores;
    for (size_t i = 0; i < kT * kE; ++i) scores.push_back(rng.normal(int64_t(i), 0));
    double best = -1e9;
    for (size_t code = 0; code < 2187; ++code) {
      size_t rest = code, used[kE] = {};
      double sum = 0;
      for (size_t t = 0; t < kT; ++t, rest /= kE)
        sum += scores[t * kE + rest % kE], ++used[rest % kE];
      if (std::max({used[0], used[1], used[2]}) <= kRoom) best = std::max(best, sum);
    }
    const std::vector<int32_t> expert = balanced_assignment(scores, kE);
    double sum = 0;
    size_t used[kE] = {};
    for (size_t t = 0; t < kT; ++t)
      sum += scores[t * kE + size_t(expert[t])], ++used[size_t(expert[t])];
    EXPECT_LE(std::max({used[0], used[1], used[2]}), kRoom);
    EXPECT_NEAR(sum, best, 1e-12) << seed;
  }
}

TEST(HashBalancedRouter, NeighbouringIdsTakeEveryExpertOnce) {
  MoeConfig c = config("hash_balanced");
  c.n_experts = 5;
  c.top_k = 1;
  const auto router = make_router(c, 4, DType::f64);
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 100; ++i) ids.push_back(i);
  const Routing r =
      router->route_logits(Var(Tensor::zeros({100, 5}, DType::f64)), pack_sequences({ids}));
  EXPECT_EQ(r.stats.counts_E, std::vector<int64_t>(5, 20));
}

}  // namespace
}  // namespace moe
