// SPDX-License-Identifier: MIT
// Independent sigmoid scores with a selection bias that balances the load without a loss
// (DeepSeek-V3, arXiv:2412.19437, section 2.1.2; Wang et al. 2024, arXiv:2408.15664). The bias
// decides who is chosen, never the weight. Optional limit to the topk_group best groups, a group's
// score being the sum of its two best biased scores; experts of other groups count as minus
// infinity.
#include <algorithm>
#include <numeric>

#include "moe/nn/model_config.h"
#include "moe/nn/moe/assignment_router.h"
#include "moe/nn/moe/aux_loss.h"
#include "moe/nn/moe/balance_losses.h"
#include "moe/nn/moe/routers.h"
#include "moe/ops/activation.h"
#include "moe/ops/elementwise.h"
#include "moe/ops/select.h"

namespace moe {
namespace {

class SigmoidBiasRouter final : public GatedRouter {
 public:
  SigmoidBiasRouter(const MoeConfig& c, int64_t d_model, DType dtype)
      : GatedRouter(c, "gate", d_model, c.top_k, dtype),
        bias_E_(Tensor::zeros({c.n_experts}, DType::f32)),
        n_group_(c.n_group),
        topk_group_(c.topk_group),
        scaling_(c.routed_scaling_factor),
        update_rate_(c.bias_update_rate),
        loss_(c) {}

  // b_e += u sign(mean load - load_e)
  void update(const RouterTotals& totals) override {
    const double mean =
        double(std::accumulate(totals.counts_E.begin(), totals.counts_E.end(), int64_t{0})) /
        double(n_experts_);
    const std::span<float> bias = bias_E_.data<float>();
    for (size_t e = 0; e < bias.size(); ++e) {
      const double load = double(totals.counts_E[e]);
      bias[e] += float(update_rate_ * double((mean > load) - (mean < load)));
    }
  }
  void visit_own(const Visitor& v) const override {
    GatedRouter::visit_own(v);
    v.buffer({v.prefix + "gate.e_score_correction_bias", bias_E_});
  }

 private:
  Scores score_logits(const Var& logits_TE) const override {
    return {logits_TE, ops::activation(logits_TE, Activation::sigmoid)};
  }
  Picks select_experts(const Scores& s, const ForwardContext& ctx) const override {
    const Tensor& scores_TE = s.probs_TE.value();
    const int64_t group_size = n_experts_ / n_group_;
    std::vector<int32_t> groups(static_cast<size_t>(n_group_));
    std::iota(groups.begin(), groups.end(), 0);
    return token_choice(ctx, [&](int64_t t) {
      // float32 addition: what a float32 model adds.
      auto biased = [&](int32_t e) {
        return double(float(score_at(scores_TE, t, e)) + bias_E_.data<float>()[size_t(e)]);
      };
      auto members = [&](int32_t g) {
        std::vector<int32_t> experts(static_cast<size_t>(group_size));
        std::iota(experts.begin(), experts.end(), int32_t(g * group_size));
        return experts;
      };
      auto group_score = [&](int32_t g) {
        double sum = 0;
        for (const int32_t e : k_best(members(g), 2, biased)) sum += biased(e);
        return sum;
      };
      std::vector<int32_t> open;
      for (const int32_t g : k_best(groups, topk_group_, group_score))
        for (const int32_t e : members(g)) open.push_back(e);
      std::sort(open.begin(), open.end());
      return k_best(open, k_, biased);
    });
  }
  Var weigh(const Scores& s, const Picks& picks, int64_t n_tokens) const override {
    const Tensor token_A = pick_tokens(picks);
    return ops::scale(
        ops::normalize_per_token(ops::select_elements(s.probs_TE, token_A, pick_experts(picks)),
                                 token_A, n_tokens),
        scaling_);
  }
  // A small balance loss beside the bias is usual (DeepSeek-V3: 1e-4 with
  // balance_loss=switch_sequence).
  Var aux_loss(const Scores& s, const Chosen& chosen, const ForwardContext& ctx) const override {
    const Var probs_TE = normalize_rows(s.probs_TE);
    return loss_({s.logits_TE, probs_TE, chosen.picks, chosen.weight_A1, chosen.stats}, ctx);
  }

  Tensor bias_E_;  // float32 always
  int64_t n_group_, topk_group_;
  double scaling_, update_rate_;
  AuxLoss loss_;
};

}  // namespace

std::unique_ptr<Router> make_sigmoid_bias_router(const MoeConfig& config, int64_t d_model,
                                                 DType dtype) {
  return std::make_unique<SigmoidBiasRouter>(config, d_model, dtype);
}

}  // namespace moe
