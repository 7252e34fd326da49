// SPDX-License-Identifier: MIT
// Noisy top-k routing (Shazeer et al. 2017, arXiv:1701.06538, eqs. 3 to 11). In training a normal
// draw times softplus(x W_noise) + 0.01 is added to each logit before the k largest are taken;
// weights are the softmax of the chosen noisy logits. Two losses, each aux_loss_weight times a
// squared coefficient of variation (population variance): of the experts' importance, the sum of
// their weights, and of their load, the expected number of tokens had only their own noise been
// drawn again. Without noise the load is the count and has no gradient.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "moe/nn/moe/balance_losses.h"
#include "moe/nn/moe/routers.h"
#include "moe/nn/moe/score_ops.h"
#include "moe/nn/moe/softmax_router.h"
#include "moe/ops/elementwise.h"
#include "moe/ops/select.h"

namespace moe {
namespace {

// Phi((clean - threshold) / scale) of token t and expert e, the threshold being the largest noisy
// logit that e must beat: the k + 1st, if e is among the k largest, else the k-th.
struct Chance {
  double u = 0;
  int32_t threshold = -1;  // the expert whose noisy logit it is
  double value() const { return 0.5 * std::erfc(-u / std::sqrt(2.0)); }
  double density() const { return std::exp(-0.5 * u * u) / std::sqrt(2 * std::acos(-1.0)); }
};

class Chances {
 public:
  Chances(const Tensor& clean_TE, const Tensor& noisy_TE, const Tensor& scale_TE, int64_t k)
      : clean_(clean_TE), noisy_(noisy_TE), scale_(scale_TE), k_(k) {}

  /// f(e, chance) for every expert of token t.
  template <class F>
  void of_token(int64_t t, F f) const {
    const int64_t E = clean_.size(1);
    std::vector<int32_t> all(static_cast<size_t>(E));
    std::iota(all.begin(), all.end(), 0);
    const std::vector<int32_t> best =
        k_best(all, k_ + 1, [&](int32_t e) { return score_at(noisy_, t, e); });
    for (int32_t e = 0; e < E; ++e) {
      const bool is_in = score_at(noisy_, t, e) > score_at(noisy_, t, best[size_t(k_)]);
      const int32_t other = best[size_t(is_in ? k_ : k_ - 1)];
      f(e, Chance{(score_at(clean_, t, e) - score_at(noisy_, t, other)) / score_at(scale_, t, e),
                  other});
    }
  }

 private:
  const Tensor &clean_, &noisy_, &scale_;
  int64_t k_;
};

}  // namespace

std::vector<double> noisy_load(const Tensor& clean_TE, const Tensor& noisy_TE,
                               const Tensor& scale_TE, int64_t k, const ForwardContext& ctx) {
  std::vector<double> load(size_t(clean_TE.size(1)), 0);
  const Chances chances(clean_TE, noisy_TE, scale_TE, k);
  for (int64_t t = 0; t < clean_TE.size(0); ++t)
    if (ctx.valid(t))
      chances.of_token(t, [&](int32_t e, const Chance& c) { load[size_t(e)] += c.value(); });
  return load;
}

namespace {

Var load_loss(const Var& clean_TE, const Var& noisy_TE, const Var& scale_TE, int64_t k,
              const ForwardContext& ctx) {
  const CvSquared cv(noisy_load(clean_TE.value(), noisy_TE.value(), scale_TE.value(), k, ctx));
  return record("noisy_load_loss", scalar_tensor(cv.value()), {clean_TE, noisy_TE, scale_TE},
                [=](const Tensor& dloss) {
                  const double d = dloss.data<double>()[0];
                  const Chances chances(clean_TE.value(), noisy_TE.value(), scale_TE.value(), k);
                  for (int64_t t = 0; t < clean_TE.size(0); ++t) {
                    if (!ctx.valid(t)) continue;
                    chances.of_token(t, [&](int32_t e, const Chance& c) {
                      const double slope =
                          d * cv.slope(size_t(e)) * c.density() / score_at(scale_TE.value(), t, e);
                      add_to_score_grad(clean_TE, t, e, slope);
                      add_to_score_grad(noisy_TE, t, c.threshold, -slope);
                      add_to_score_grad(scale_TE, t, e, -slope * c.u);
                    });
                  }
                });
}

Var importance_loss(const Var& weight_A1, const Picks& picks, int64_t n_experts) {
  std::vector<double> importance(size_t(n_experts), 0);
  for (size_t a = 0; a < picks.size(); ++a)
    importance[size_t(picks[a].expert)] += score_at(weight_A1.value(), int64_t(a), 0);
  const CvSquared cv(importance);
  const Tensor expert_A = pick_experts(picks);
  return record("importance_loss", scalar_tensor(cv.value()), {weight_A1},
                [=](const Tensor& dloss) {
                  const std::span<const int32_t> expert = expert_A.data<int32_t>();
                  for (size_t a = 0; a < expert.size(); ++a)
                    add_to_score_grad(weight_A1, int64_t(a), 0,
                                      dloss.data<double>()[0] * cv.slope(size_t(expert[a])));
                });
}

class NoisyTopKRouter final : public SoftmaxRouter {
 public:
  NoisyTopKRouter(const MoeConfig& c, int64_t d_model, DType dtype)
      : SoftmaxRouter(c, d_model, c.top_k, dtype),
        noise_({"noise_gate"}, {c.n_experts}, d_model, false, dtype) {
    noise_.role = Role::router;
  }
  void visit_own(const Visitor& v) const override {
    GatedRouter::visit_own(v);
    noise_.visit(v);
  }

 private:
  Scores score(const Var& x_TD, const ForwardContext& ctx) const override {
    Scores s = SoftmaxRouter::score(x_TD, ctx);
    if (!ctx.training) return s;
    s.noise_scale_TE = map_scores("softplus", noise_(x_TD, ctx), [](double z) {
      const double e = std::exp(-std::abs(z)), sigmoid = (z > 0 ? 1 : e) / (1 + e);
      return ValueAndSlope{std::max(z, 0.0) + std::log1p(e) + 1e-2, sigmoid};
    });
    const Var draws_TE(normal_draws(s.logits_TE.value(), ctx, "router.noise"));
    s.noisy_TE = ops::add(s.logits_TE, ops::multiply(draws_TE, s.noise_scale_TE));
    return s;
  }
  Picks select_experts(const Scores& s, const ForwardContext& ctx) const override {
    return top_k_picks((s.noisy_TE ? s.noisy_TE : s.logits_TE).value(), k_, ctx);
  }
  Var weigh(const Scores& s, const Picks& picks, int64_t n_tokens) const override {
    const Tensor token_A = pick_tokens(picks);
    return ops::softmax_per_token(
        ops::select_elements(s.noisy_TE ? s.noisy_TE : s.logits_TE, token_A, pick_experts(picks)),
        token_A, n_tokens);
  }
  Var aux_loss(const Scores& s, const Chosen& c, const ForwardContext& ctx) const override {
    Var loss = importance_loss(c.weight_A1, c.picks, n_experts_);
    if (s.noisy_TE && k_ < n_experts_) {
      loss = ops::add(loss, load_loss(s.logits_TE, s.noisy_TE, s.noise_scale_TE, k_, ctx));
    } else {
      const std::vector<double> counts(c.stats.counts_E.begin(), c.stats.counts_E.end());
      loss = ops::add(loss, Var(scalar_tensor(CvSquared(counts).value())));
    }
    return ops::add(balance_part(loss, aux_loss_weight_, c.stats),
                    z_part(s.logits_TE, z_loss_weight_, c.stats, ctx));
  }

  Linear noise_;  // [E, D]
};

}  // namespace

std::unique_ptr<Router> make_noisy_top_k_router(const MoeConfig& config, int64_t d_model,
                                                DType dtype) {
  return std::make_unique<NoisyTopKRouter>(config, d_model, dtype);
}

}  // namespace moe
