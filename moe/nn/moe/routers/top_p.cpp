// SPDX-License-Identifier: MIT
// Dynamic routing by probability mass (Huang et al. 2024, arXiv:2403.07652): a token takes its best
// experts until their probabilities exceed model.moe.threshold, the one that crosses it included;
// so at least one, and all of them from 1 on. Weights are the probabilities as they are. Beside the
// balance loss, entropy_weight times the mean entropy of the probabilities keeps them peaked (eq.
// 7). With target_experts the threshold moves after each step, by up to 0.01 (ours; a paper leaves
// it fixed), until a token takes that many on average. model.moe.top_k has no meaning.
#include <algorithm>
#include <numeric>

#include "moe/nn/moe/balance_losses.h"
#include "moe/nn/moe/routers.h"
#include "moe/nn/moe/softmax_router.h"
#include "moe/ops/elementwise.h"

namespace moe {
namespace {

class TopPRouter final : public SoftmaxRouter {
 public:
  TopPRouter(const MoeConfig& c, int64_t d_model, DType dtype)
      : SoftmaxRouter(c, d_model, c.n_experts, dtype),
        threshold_1_(Tensor::from<float>({1}, std::vector<float>{float(c.threshold)})),
        fixed_threshold_(c.threshold),
        entropy_weight_(c.entropy_weight),
        target_(c.target_experts) {}

  void update(const RouterTotals& totals) override {
    if (target_ == 0 || totals.n_tokens == 0) return;
    double taken = 0;
    for (const int64_t n : totals.counts_E) taken += double(n);
    const double excess = taken / (target_ * double(totals.n_tokens)) - 1;
    float& threshold = threshold_1_.data<float>()[0];
    threshold = std::clamp(threshold - float(0.01 * std::clamp(excess, -1.0, 1.0)), 0.0f, 1.0f);
  }
  void visit_own(const Visitor& v) const override {
    GatedRouter::visit_own(v);
    if (target_ > 0) v.buffer({v.prefix + "gate.threshold", threshold_1_});
  }

 private:
  Picks select_experts(const Scores& s, const ForwardContext& ctx) const override {
    const double threshold = target_ > 0 ? double(threshold_1_.data<float>()[0]) : fixed_threshold_;
    std::vector<int32_t> all(static_cast<size_t>(n_experts_));
    std::iota(all.begin(), all.end(), 0);
    return token_choice(ctx, [&](int64_t t) {
      const auto probability = [&](int32_t e) { return score_at(s.probs_TE.value(), t, e); };
      std::vector<int32_t> experts = k_best(all, n_experts_, probability);
      double mass = 0;
      size_t n = 0;
      while (n < experts.size() && mass <= threshold) mass += probability(experts[n++]);
      experts.resize(n);
      return experts;
    });
  }
  Var aux_loss(const Scores& s, const Chosen& chosen, const ForwardContext& ctx) const override {
    const Var entropy = ops::scale(router_entropy(s.probs_TE, ctx), entropy_weight_);
    const Var rest = SoftmaxRouter::aux_loss(s, chosen, ctx);
    chosen.stats.balance_loss += entropy.value().data<double>()[0];
    return ops::add(rest, entropy);
  }

  Tensor threshold_1_;  // float32 always; state of the run where it is steered
  double fixed_threshold_, entropy_weight_, target_;
};

}  // namespace

std::unique_ptr<Router> make_top_p_router(const MoeConfig& config, int64_t d_model, DType dtype) {
  return std::make_unique<TopPRouter>(config, d_model, dtype);
}

}  // namespace moe
