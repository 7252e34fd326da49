// SPDX-License-Identifier: MIT
// One layer as a whole: the same bits as a loop over tokens, the same bits in every run, and an
// auxiliary loss that reaches its own router.
#include "moe/nn/moe/moe_layer.h"

#include <algorithm>
#include <cmath>

#include "moe/base/parallel.h"
#include "moe/nn/init.h"
#include "moe/nn/moe/assignment_router.h"
#include "moe/nn/transformer_lm.h"
#include "moe/ops/elementwise.h"

#include "router_testing.h"

namespace moe {
namespace {

using testing::context;

ModelConfig config(const char* router, const char* expert = "default", bool bias = false) {
  ModelConfig c;
  c.d_model = 24;
  c.has_moe = true;
  c.moe.router = router;
  c.moe.n_experts = 6;
  c.moe.top_k = 2;
  c.moe.d_ff = 20;
  c.moe.expert = expert;
  c.moe.expert_bias = bias;
  return c;
}

Tensor random_rows(int64_t rows, int64_t cols, uint64_t seed) {
  const RngStream rng(seed, 0, "moe layer test");
  const Tensor t = Tensor::empty({rows, cols}, DType::f32);
  for (int64_t i = 0; i < rows * cols; ++i) t.data<float>()[size_t(i)] = float(rng.normal(i, 0));
  return t;
}

std::vector<Parameter> fill(const std::function<void(const Visitor&)>& visit, uint64_t seed) {
  std::vector<Parameter> out;
  Visitor v;
  v.parameter = [&](const Parameter& p) { out.push_back(p); };
  visit(v);
  for (const Parameter& p : out)
    for (const Piece& piece : p.pieces) {
      const Shape shape = piece_shape(p, piece);
      Tensor w = random_rows(shape.numel() / shape[-1], shape[-1], seed++);
      for (float& x : w.data<float>()) x *= 0.3f;
      write_piece(p.var.value(), piece, w.reshape(shape));
    }
  return out;
}

// Each token alone through each of its experts alone, experts ascending, y = fma(weight, output,
// y).
TEST(MoeLayer, EqualsALoopOverTokens) {
  for (const char* router : {"top_k", "sigmoid_bias", "relu", "hash"})
    for (const char* kind : {"default", "linear", "mlp_gelu"})
      for (const bool bias : {false, true}) {
        SCOPED_TRACE(str(router, " ", kind, bias ? " with biases" : ""));
        const ModelConfig c = config(router, kind, bias);
        const MoeLayer layer(c, DType::f32);
        const std::vector<Parameter> of_layer = fill([&](const Visitor& v) { layer.visit(v); }, 10);
        const int64_t T = 37, D = c.d_model;
        const Tensor x = random_rows(T, D, 5);
        const ForwardContext ctx = context({T});
        const Routing routing = layer.router->route(Var(x), ctx);
        Tensor want = Tensor::zeros({T, D}, DType::f32);
        for (int32_t e = 0; e < c.moe.n_experts; ++e) {
          const FeedForward one(expert_shape(c), D, DType::f32);
          const std::vector<Parameter> of_one = fill([&](const Visitor& v) { one.visit(v); }, 99);
          const std::string prefix = str("experts.", e, ".");
          for (const Parameter& to : of_one)
            for (const Piece& piece : to.pieces)
              for (const Parameter& from : of_layer)
                for (const Piece& p : from.pieces)
                  if (p.name == prefix + piece.name)
                    write_piece(to.var.value(), piece, read_piece(from.var.value(), p));
          for (size_t a = 0; a < routing.kept.size(); ++a) {
            const Pick& p = routing.kept[a];
            if (p.expert != e) continue;
            const Tensor y = one(Var(x.rows(p.token, p.token + 1).clone()), ctx).value();
            const float w = routing.weight_A1.value().data<float>()[a];
            for (int64_t d = 0; d < D; ++d) {
              float& sum = want.view().at<float>(p.token, d);
              sum = std::fma(w, y.view().at<float>(0, d), sum);
            }
          }
        }
        EXPECT_TRUE(same_bits(layer(Var(x), ctx).y_TD.value(), want));
      }
}

TEST(MoeLayer, AHundredRunsOnAnyNumberOfThreadsGiveTheSameBits) {
  const ModelConfig c = config("top_k");
  const MoeLayer layer(c, DType::f32);
  const std::vector<Parameter> parameters = fill([&](const Visitor& v) { layer.visit(v); }, 10);
  const Var x(random_rows(130, c.d_model, 5), true);
  const auto run = [&] {
    std::vector<Tensor> out;
    x.clear_grad();
    for (const Parameter& p : parameters) p.var.clear_grad();
    Tape tape;
    const MoeOutput y = layer(x, context({100, 30}));
    const Tensor dy = random_rows(130, c.d_model, 6);
    std::ranges::copy(dy.data<float>(), y.y_TD.grad().data<float>().begin());
    y.aux_loss.grad().data<double>()[0] = 1;
    tape.backward_from_grads();
    out.push_back(y.y_TD.value().clone());
    out.push_back(x.grad().clone());
    for (const Parameter& p : parameters) out.push_back(p.var.grad().clone());
    return out;
  };
  set_threads(1);
  const std::vector<Tensor> want = run();
  for (const int threads : {1, 2, 8}) {
    set_threads(threads);
    for (int i = 0; i < 100; ++i) {
      const std::vector<Tensor> got = run();
      for (size_t j = 0; j < want.size(); ++j)
        ASSERT_TRUE(same_bits(got[j], want[j])) << threads << " threads, run " << i << ", " << j;
    }
  }
  set_threads(0);
}

TEST(MoeLayer, AnAuxiliaryLossReachesItsOwnRouterOnceOnly) {
  std::vector<MoeLayer> layers;
  std::vector<Var> gates;
  for (int i = 0; i < 4; ++i) {
    ModelConfig c = config("top_k");
    c.moe.aux_loss_weight = i == 3 ? 0.1 : 0;
    c.moe.z_loss_weight = 0;
    layers.emplace_back(c, DType::f32);
    for (const Parameter& p : fill([&](const Visitor& v) { layers.back().visit(v); }, 10))
      if (p.role == Role::router) gates.push_back(p.var);
  }
  const Var x(random_rows(40, 24, 5));
  const auto backward = [&](int forwards) {
    for (const Var& g : gates) g.clear_grad();
    Tape tape;
    Var loss;
    for (int n = 0; n < forwards; ++n) {
      loss = zero_loss();
      for (const MoeLayer& layer : layers) loss = ops::add(loss, layer(x, context({40})).aux_loss);
    }
    tape.backward(loss);
    std::vector<double> norms;
    for (const Var& g : gates) {
      double sum = 0;
      for (const float v : g.grad().data<float>()) sum += double(v) * double(v);
      norms.push_back(std::sqrt(sum));
    }
    return norms;
  };
  const std::vector<double> once = backward(1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(once[size_t(i)], 0);
  EXPECT_GT(once[3], 0);
  EXPECT_EQ(backward(2), once);
}

// After the weights have moved, recorded routes are taken and the weights of the routes are new.
TEST(RouterReplay, AModelTakesTheRoutesOfAnEarlierPass) {
  ModelConfig c = config("top_k");
  c.n_layers = 2;
  c.n_heads = c.n_kv_heads = 2;
  c.head_dim = 12;
  c.max_seq_len = 32;
  c.vocab_size = 40;
  const TransformerLM model(c);
  initialize(model, 3);
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 32; ++i) ids.push_back(i * 7 % 40);
  ForwardContext ctx = pack_sequences({ids});
  const LmOutput before = model(ctx);
  for (const Parameter& p : model.parameters())
    if (p.role == Role::router)
      for (float& w : p.var.value().data<float>()) w = -w;
  const LmOutput moved = model(ctx);
  EXPECT_NE(moved.moe_layers[0].picks, before.moe_layers[0].picks);
  ctx.replay = std::make_shared<const RouterReplay>(recorded_routes(before));
  const LmOutput again = model(ctx);
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(again.moe_layers[i].picks, before.moe_layers[i].picks);
  EXPECT_FALSE(same_bits(again.hidden_TD.value(), before.hidden_TD.value()));
}

}  // namespace
}  // namespace moe
