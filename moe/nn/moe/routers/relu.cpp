// SPDX-License-Identifier: MIT
// ReMoE (Wang et al. 2024, arXiv:2412.14711): weights are ReLU of the logits, and a token takes the
// experts whose weight is not 0, perhaps none; differentiable everywhere but at 0. A load-balanced
// L1 loss, lambda * sum_e f_e mean_t w_te with f_e = E / (k T) * (tokens of e) (eq. 9), drives the
// mean number of experts to top_k: after each step lambda grows by 1.2 while more are taken, else
// it shrinks by 1.2 (eq. 7), layer by layer here.
#include <algorithm>

#include "moe/nn/model_config.h"
#include "moe/nn/moe/assignment_router.h"
#include "moe/nn/moe/balance_losses.h"
#include "moe/nn/moe/routers.h"
#include "moe/ops/activation.h"
#include "moe/ops/elementwise.h"

namespace moe {
namespace {

class ReluRouter final : public GatedRouter {
 public:
  ReluRouter(const MoeConfig& c, int64_t d_model, DType dtype)
      : GatedRouter(c, "gate", d_model, c.top_k, dtype),
        lambda_1_(Tensor::zeros({1}, DType::f32)),
        z_loss_weight_(c.z_loss_weight) {
    lambda_1_.data<float>()[0] = kFirstLambda;
  }

  void update(const RouterTotals& totals) override {
    if (totals.n_tokens == 0) return;
    double taken = 0;
    for (const int64_t n : totals.counts_E) taken += double(n);
    float& lambda = lambda_1_.data<float>()[0];
    lambda = taken > double(k_) * double(totals.n_tokens) ? lambda * 1.2f : lambda / 1.2f;
    lambda = std::max(lambda, 1e-30f);  // a float that can grow again
  }
  void visit_own(const Visitor& v) const override {
    GatedRouter::visit_own(v);
    v.buffer({v.prefix + "gate.sparsity_lambda", lambda_1_});
  }

 private:
  static constexpr float kFirstLambda = 1e-8f;

  Scores score_logits(const Var& logits_TE) const override {
    return {logits_TE, ops::activation(logits_TE, Activation::relu)};
  }
  Picks select_experts(const Scores& s, const ForwardContext& ctx) const override {
    const Tensor& w_TE = s.probs_TE.value();
    return token_choice(ctx, [&](int64_t t) {
      std::vector<int32_t> open;
      for (int32_t e = 0; e < n_experts_; ++e)
        if (score_at(w_TE, t, e) > 0) open.push_back(e);
      return k_best(open, n_experts_, [&](int32_t e) { return score_at(w_TE, t, e); });
    });
  }
  Var aux_loss(const Scores& s, const Chosen& chosen, const ForwardContext& ctx) const override {
    std::vector<double> f_E;
    for (const int64_t count : chosen.stats.counts_E)
      f_E.push_back(chosen.stats.n_tokens == 0 ? 0
                                               : double(n_experts_) * double(count) /
                                                     (double(k_) * double(chosen.stats.n_tokens)));
    const Var l1 = balance_part(weighted_column_means(s.probs_TE, f_E, ctx),
                                double(lambda_1_.data<float>()[0]), chosen.stats);
    return ops::add(l1, z_part(s.logits_TE, z_loss_weight_, chosen.stats, ctx));
  }

  Tensor lambda_1_;  // float32 always; saved, since it is state of the run
  double z_loss_weight_;
};

}  // namespace

std::unique_ptr<Router> make_relu_router(const MoeConfig& config, int64_t d_model, DType dtype) {
  return std::make_unique<ReluRouter>(config, d_model, dtype);
}

}  // namespace moe
