// SPDX-License-Identifier: MIT
// Expert Choice routing: every expert takes its C best tokens of each sequence, C = ceil(tokens * k
// / E) (Zhou et al. 2022, arXiv:2202.09368, section 3.2). Perfect balance by construction; not
// causal, so generation refuses it.
#include <cmath>

#include "moe/nn/model_config.h"
#include "moe/nn/moe/assignment_router.h"
#include "moe/nn/moe/balance_losses.h"
#include "moe/nn/moe/routers.h"
#include "moe/ops/elementwise.h"
#include "moe/ops/softmax.h"

namespace moe {
namespace {

class ExpertChoiceRouter final : public GatedRouter {
 public:
  ExpertChoiceRouter(const MoeConfig& c, int64_t d_model, DType dtype)
      : GatedRouter("gate", d_model, c.n_experts, c.top_k, dtype),
        z_loss_weight_(c.z_loss_weight) {}

 private:
  bool selects_causally(bool) const override { return false; }
  Scores score(const Var& x_TD, const ForwardContext&) const override {
    const Var logits_TE = gate_(x_TD);
    return {logits_TE, ops::softmax(logits_TE)};
  }
  Picks select_experts(const Scores& s, const ForwardContext& ctx) const override {
    Picks picks;
    const std::span<const int32_t> starts = ctx.sequence_starts_B1.data<int32_t>();
    for (size_t b = 0; b + 1 < starts.size(); ++b) {
      std::vector<int32_t> tokens;
      for (int32_t t = starts[b]; t < starts[b + 1]; ++t)
        if (ctx.valid(t)) tokens.push_back(t);
      const int64_t n = int64_t(tokens.size()),
                    C = std::min(n, (n * k_ + n_experts_ - 1) / n_experts_);
      for (int32_t e = 0; e < n_experts_; ++e)
        for (const int32_t t : k_best(
                 tokens, C, [&](int32_t token) { return score_at(s.probs_TE.value(), token, e); }))
          picks.push_back({e, t, 0});
    }
    return picks;
  }
  Var aux_loss(const Scores& s, RouterStats& stats, const ForwardContext& ctx) const override {
    const Var z = ops::scale(router_z_loss(s.logits_TE, ctx), z_loss_weight_);
    stats.z_loss = z.value().data<double>()[0];
    return z;
  }

  double z_loss_weight_;
};

}  // namespace

std::unique_ptr<Router> make_expert_choice_router(const MoeConfig& config, int64_t d_model,
                                                  DType dtype) {
  return std::make_unique<ExpertChoiceRouter>(config, d_model, dtype);
}

}  // namespace moe
