// SPDX-License-Identifier: MIT
// Muon against torch.optim.Muon repeated in float64 (tools/make_model_golden.py muon) and on the
// logical matrices of a model.
#include "moe/optim/muon.h"

#include <cmath>
#include <gtest/gtest.h>

#include "moe/base/fs.h"
#include "moe/base/json.h"
#include "moe/nn/init.h"
#include "moe/nn/transformer_lm.h"

namespace moe {
namespace {

Tensor tensor_of(const Json& rows, DType dtype) {
  std::vector<double> values;
  for (const Json& row : rows.as_array())
    for (const Json& x : row.as_array()) values.push_back(x.to_number<double>());
  const int64_t n = int64_t(rows.as_array().size());
  const Tensor t = Tensor::from<double>({n, int64_t(values.size()) / n}, values);
  return dtype == DType::f64 ? t : t.to(dtype);
}

double at(const Tensor& t, int64_t i) {
  return t.dtype() == DType::f64 ? t.data<double>()[size_t(i)] : double(t.data<float>()[size_t(i)]);
}

double max_difference(const Tensor& a, const Tensor& b) {
  double largest = 0;
  for (int64_t i = 0; i < b.numel(); ++i)
    largest = std::max(largest, std::abs(at(a, i) - at(b, i)));
  return largest;
}

// float32: 1e-5 is asked for; float64: PyTorch divides by max(|x|, 1e-7), we by |x| + 1e-7.
void expect_golden_steps(DType dtype, double tolerance) {
  const Json golden = read_json(join_path(MOE_GOLDEN_DIR, "optim/muon.json"), "[golden] muon");
  double largest = 0;
  for (const Json& c : golden.at("cases").as_array()) {
    const Tensor w = tensor_of(c.at("start"), dtype), buf = Tensor::zeros(w.shape(), dtype);
    for (size_t step = 0; step < 3; ++step) {
      muon_update(w, buf, tensor_of(c.at("gradients").as_array()[step], dtype),
                  {.lr = c.at("lr").to_number<double>(),
                   .momentum = c.at("momentum").to_number<double>(),
                   .weight_decay = c.at("weight_decay").to_number<double>(),
                   .grad_scale = 1,
                   .nesterov = c.at("nesterov").as_bool(),
                   .match_rms_adamw = c.at("adjust_lr_fn").is_string()});
      largest = std::max(
          largest,
          max_difference(w, tensor_of(c.at("after_step_exact").as_array()[step], DType::f64)));
    }
  }
  EXPECT_LE(largest, tolerance);
  testing::Test::RecordProperty("max_error", str(largest));
}

TEST(Muon, ThreeStepsInFloat32) { expect_golden_steps(DType::f32, 1e-5); }
TEST(Muon, ThreeStepsInFloat64) { expect_golden_steps(DType::f64, 1e-7); }

TEST(Muon, OrthogonalisationOfAWideMatrix) {
  const std::vector<double> g = {1, 2, -1, .5, -.3, 2};
  const Tensor o = orthogonalize(Tensor::from<double>({2, 3}, g));
  const std::vector<double> want = {.3943029204, .7779210004,  -.3737551503,
                                    .2065642958, -.1025688966, .7851616432};
  for (int64_t i = 0; i < 6; ++i) EXPECT_NEAR(at(o, i), want[size_t(i)], 1e-7);
}

TEST(Muon, OrthogonalisationCommutesWithTransposition) {
  const std::vector<double> g = {1, 2, -1, .5, -.3, 2}, gt = {1, .5, 2, -.3, -1, 2};
  const Tensor wide = orthogonalize(Tensor::from<double>({2, 3}, g)),
               tall = orthogonalize(Tensor::from<double>({3, 2}, gt));
  for (int64_t r = 0; r < 2; ++r)
    for (int64_t c = 0; c < 3; ++c) EXPECT_EQ(at(wide, r * 3 + c), at(tall, c * 2 + r));
}

TEST(Muon, AZeroGradientOnlyDecays) {
  const std::vector<double> start = {1, 2, 3, 4};
  const Tensor w = Tensor::from<double>({2, 2}, start), zero = Tensor::zeros({2, 2}, DType::f64);
  muon_update(w, zero.clone(), zero,
              {.lr = .1, .momentum = .9, .weight_decay = .5, .grad_scale = 1});
  for (int64_t i = 0; i < 4; ++i) EXPECT_NEAR(at(w, i), start[size_t(i)] * .95, 1e-15);
}

ModelConfig tiny() {
  ModelConfig c;
  c.n_layers = 1;
  c.d_model = 12;
  c.n_heads = 2;
  c.n_kv_heads = 1;
  c.head_dim = 4;
  c.vocab_size = 17;
  c.has_moe = true;
  c.moe.n_experts = 3;
  c.moe.d_ff = 7;
  return c;
}

void set_gradients(const TransformerLM& model) {
  const RngStream noise = Rng{3, 0}.stream("gradient");
  int64_t i = 0;
  for (const Parameter& p : model.parameters())
    for (const Piece& piece : p.pieces) {
      const Tensor g = Tensor::empty(piece_shape(p, piece), DType::f64);
      for (int64_t j = 0; j < g.numel(); ++j) g.data<double>()[size_t(j)] = noise.normal(j, i);
      write_piece(p.var.grad(), piece, g);
      ++i;
    }
}

// q, k, v, gate, up and every expert by themselves, the rest by AdamW.
TEST(Muon, ActsOnEachLogicalMatrixAndLeavesTheRestToAdamW) {
  const TransformerLM muon(tiny(), DType::f64), adamw(tiny(), DType::f64),
      start(tiny(), DType::f64);
  for (const TransformerLM* model : {&muon, &adamw, &start}) {
    initialize(*model, 2);
    set_gradients(*model);
  }
  const OptimConfig config = {.name = "muon", .momentum = .9, .weight_decay = .1};
  MuonOptimizer by_muon(config, muon.parameters());
  AdamWOptimizer by_adamw(config, adamw.parameters());
  by_muon.step(.02, .5);
  by_adamw.step(.02, .5);
  const std::vector<Parameter> after = muon.parameters(), other = adamw.parameters(),
                               before = start.parameters();
  int matrices = 0;
  for (size_t i = 0; i < after.size(); ++i)
    for (const Piece& piece : after[i].pieces) {
      const Tensor have = read_piece(after[i].var.value(), piece);
      if (after[i].role != Role::matrix) {
        EXPECT_TRUE(same_bits(have, read_piece(other[i].var.value(), piece))) << piece.name;
        continue;
      }
      ++matrices;
      const Tensor want = read_piece(before[i].var.value(), piece);
      muon_update(want, Tensor::zeros(want.shape(), DType::f64),
                  read_piece(before[i].var.grad(), piece),
                  {.lr = .02, .momentum = .9, .weight_decay = .1, .grad_scale = .5});
      EXPECT_TRUE(same_bits(have, want)) << piece.name;
    }
  EXPECT_EQ(matrices, 4 + 3 * 3);
}

// A matrix of one number has one singular value, 1 once divided by its norm; each iteration maps it
// by a s + b s^3 + c s^5. The norm's 1e-7 changes it by that much.
TEST(Orthogonalize, IterationsOfTheQuintic) {
  const double g[1] = {3};
  double s = 3 / (3 + 1e-7);
  for (int64_t n = 1; n <= 5; ++n) {
    s = 3.4445 * s - 4.7750 * std::pow(s, 3) + 2.0315 * std::pow(s, 5);
    EXPECT_NEAR(orthogonalize(Tensor::from<double>({1, 1}, g), n).data<double>()[0], s, 1e-13);
  }
}

}  // namespace
}  // namespace moe
