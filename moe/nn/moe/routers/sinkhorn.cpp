// SPDX-License-Identifier: MIT
// S-BASE routing by Sinkhorn's iteration (Clark et al. 2022, arXiv:2202.01169; the form of
// Megatron-Core). In training exp(z) of a sequence is scaled until its rows sum to 1 / T and its
// columns to 1 / E, and the k largest entries of each row are taken: balanced in expectation,
// without a loss, but a route depends on later tokens. Otherwise the k largest weights. Weights are
// the sigmoid of the logit for k = 1, else the softmax over all experts, as they are.
#include <algorithm>
#include <cmath>

#include "moe/nn/model_config.h"
#include "moe/nn/moe/assignment_router.h"
#include "moe/nn/moe/balance_losses.h"
#include "moe/nn/moe/routers.h"
#include "moe/ops/activation.h"
#include "moe/ops/softmax.h"

namespace moe {

std::vector<double> sinkhorn(const std::vector<double>& logits_TE, int64_t n_experts) {
  const int64_t E = n_experts, T = int64_t(logits_TE.size()) / E;
  constexpr double kEps = 1e-8, kTolerance = 1e-4;
  constexpr int kMaxIterations = 1000;
  std::vector<double> cost(logits_TE.size()), d0(size_t(T), 1), d1(size_t(E), 1);
  for (int64_t t = 0; t < T; ++t) {
    // Less the row's largest logit, which changes d0 alone and keeps exp finite.
    const double* z = logits_TE.data() + t * E;
    const double top = *std::max_element(z, z + E);
    for (int64_t e = 0; e < E; ++e) cost[size_t(t * E + e)] = std::exp(z[e] - top);
  }
  for (int i = 0; i < kMaxIterations; ++i) {
    for (int64_t t = 0; t < T; ++t) {
      double sum = 0;
      for (int64_t e = 0; e < E; ++e) sum += cost[size_t(t * E + e)] * d1[size_t(e)];
      d0[size_t(t)] = 1 / (double(T) * (sum + kEps));
    }
    double change = 0;
    for (int64_t e = 0; e < E; ++e) {
      double sum = 0;
      for (int64_t t = 0; t < T; ++t) sum += cost[size_t(t * E + e)] * d0[size_t(t)];
      const double next = 1 / (double(E) * (sum + kEps));
      change += std::abs(next - d1[size_t(e)]);
      d1[size_t(e)] = next;
    }
    if (change / double(E) <= kTolerance) break;
  }
  for (int64_t t = 0; t < T; ++t)
    for (int64_t e = 0; e < E; ++e) cost[size_t(t * E + e)] *= d0[size_t(t)] * d1[size_t(e)];
  return cost;
}

namespace {

class SinkhornRouter final : public GatedRouter {
 public:
  SinkhornRouter(const MoeConfig& c, int64_t d_model, DType dtype)
      : GatedRouter(c, "gate", d_model, c.top_k, dtype), z_loss_weight_(c.z_loss_weight) {}

 private:
  bool selects_causally(bool training) const override { return !training; }
  Scores score_logits(const Var& logits_TE) const override {
    return {logits_TE,
            k_ == 1 ? ops::activation(logits_TE, Activation::sigmoid) : ops::softmax(logits_TE)};
  }
  Picks select_experts(const Scores& s, const ForwardContext& ctx) const override {
    if (!ctx.training) return top_k_picks(s.probs_TE.value(), k_, ctx);
    const Tensor balanced_TE = Tensor::zeros({s.logits_TE.size(0), n_experts_}, DType::f64);
    const std::span<const int32_t> starts = ctx.sequence_starts_B1.data<int32_t>();
    for (size_t b = 0; b + 1 < starts.size(); ++b) {
      std::vector<double> logits;
      std::vector<int64_t> tokens;
      for (int64_t t = starts[b]; t < starts[b + 1]; ++t) {
        if (!ctx.valid(t)) continue;
        tokens.push_back(t);
        for (int64_t e = 0; e < n_experts_; ++e)
          logits.push_back(score_at(s.logits_TE.value(), t, e));
      }
      const std::vector<double> scaled = sinkhorn(logits, n_experts_);
      for (size_t i = 0; i < tokens.size(); ++i)
        for (int64_t e = 0; e < n_experts_; ++e)
          balanced_TE.view().at<double>(tokens[i], e) = scaled[i * size_t(n_experts_) + size_t(e)];
    }
    return top_k_picks(balanced_TE, k_, ctx);
  }
  Var aux_loss(const Scores& s, const Chosen& chosen, const ForwardContext& ctx) const override {
    return z_part(s.logits_TE, z_loss_weight_, chosen.stats, ctx);
  }

  double z_loss_weight_;
};

}  // namespace

std::unique_ptr<Router> make_sinkhorn_router(const MoeConfig& config, int64_t d_model,
                                             DType dtype) {
  return std::make_unique<SinkhornRouter>(config, d_model, dtype);
}

}  // namespace moe
