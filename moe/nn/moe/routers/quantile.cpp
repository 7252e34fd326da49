// SPDX-License-Identifier: MIT
// Quantile balancing (J. Su 2026; also in Megatron-Core): the k largest of logit - beta are taken,
// and beta has no step size. In training each micro-batch proposes, for expert e, the value that
// would have given it exactly n = T k / E tokens: with alpha_t the k + 1st largest of z_t - beta,
// the n + 1st largest over the tokens of z_te - alpha_t. After the step beta is the mean of the
// proposals less its mean over the experts. Weights are the softmax probabilities of the chosen
// experts, over their sum with norm_topk_prob. No balance loss; later tokens only move beta of
// later steps, so routes are causal.
#include <algorithm>
#include <functional>
#include <numeric>

#include "moe/nn/moe/balance_losses.h"
#include "moe/nn/moe/routers.h"
#include "moe/nn/moe/softmax_router.h"
#include "moe/ops/select.h"

namespace moe {

std::vector<double> quantile_proposal(const Tensor& logits_TE, std::span<const float> beta_E,
                                      int64_t k, const ForwardContext& ctx) {
  const size_t E = beta_E.size();
  std::vector<std::vector<double>> above_E(E);  // z - alpha of each valid token
  for (int64_t t = 0; t < logits_TE.size(0); ++t) {
    if (!ctx.valid(t)) continue;
    std::vector<double> biased;
    for (size_t e = 0; e < E; ++e)
      biased.push_back(score_at(logits_TE, t, int64_t(e)) - double(beta_E[e]));
    std::sort(biased.begin(), biased.end(), std::greater<>());
    const double alpha = biased[size_t(std::min<int64_t>(k, int64_t(E) - 1))];
    for (size_t e = 0; e < E; ++e) above_E[e].push_back(score_at(logits_TE, t, int64_t(e)) - alpha);
  }
  std::vector<double> proposal(beta_E.begin(), beta_E.end());
  const size_t T = above_E[0].size(), n = T * size_t(k) / E;
  for (size_t e = 0; e < E && T > 0; ++e) {
    std::sort(above_E[e].begin(), above_E[e].end(), std::greater<>());
    proposal[e] = above_E[e][std::min(n, T - 1)];
  }
  return proposal;
}

namespace {

class QuantileRouter final : public SoftmaxRouter {
 public:
  QuantileRouter(const MoeConfig& c, int64_t d_model, DType dtype)
      : SoftmaxRouter(c, d_model, c.top_k, dtype),
        beta_E_(Tensor::zeros({c.n_experts}, DType::f32)),
        normalize_(c.norm_topk_prob) {}

  void update(const RouterTotals& totals) override {
    if (totals.n_proposals == 0) return;
    const std::span<float> beta = beta_E_.data<float>();
    double mean = 0;
    for (const double sum : totals.proposal_sum_E)
      mean += sum / double(totals.n_proposals) / double(beta.size());
    for (size_t e = 0; e < beta.size(); ++e)
      beta[e] = float(totals.proposal_sum_E[e] / double(totals.n_proposals) - mean);
  }
  void visit_own(const Visitor& v) const override {
    GatedRouter::visit_own(v);
    v.buffer({v.prefix + "gate.quantile_bias", beta_E_});
  }

 private:
  Picks select_experts(const Scores& s, const ForwardContext& ctx) const override {
    const Tensor shifted_TE = s.logits_TE.value().clone();
    const std::span<const float> beta = beta_E_.data<float>();
    const auto shift = [&](auto z) {
      for (size_t i = 0; i < z.size(); ++i) z[i] -= beta[i % beta.size()];
    };
    if (shifted_TE.dtype() == DType::f64)
      shift(shifted_TE.data<double>());
    else
      shift(shifted_TE.data<float>());
    return top_k_picks(shifted_TE, k_, ctx);
  }
  Var weigh(const Scores& s, const Picks& picks, int64_t n_tokens) const override {
    const Tensor token_A = pick_tokens(picks);
    const Var p_A1 = ops::select_elements(s.probs_TE, token_A, pick_experts(picks));
    return normalize_ ? ops::normalize_per_token(p_A1, token_A, n_tokens) : p_A1;
  }
  Var aux_loss(const Scores& s, const Chosen& c, const ForwardContext& ctx) const override {
    if (ctx.training && c.stats.n_tokens > 0) {
      c.stats.proposal_sum_E =
          quantile_proposal(s.logits_TE.value(), beta_E_.data<float>(), k_, ctx);
      c.stats.n_proposals = 1;
    }
    return z_part(s.logits_TE, z_loss_weight_, c.stats, ctx);
  }

  Tensor beta_E_;  // float32 always
  bool normalize_;
};

}  // namespace

std::unique_ptr<Router> make_quantile_router(const MoeConfig& config, int64_t d_model,
                                             DType dtype) {
  return std::make_unique<QuantileRouter>(config, d_model, dtype);
}

}  // namespace moe
