// SPDX-License-Identifier: MIT
// Expert Choice routing: every expert takes its C best tokens of each sequence, C = ceil(tokens * k
// / E) (Zhou et al. 2022, arXiv:2202.09368, section 3.2). Perfect balance by construction; not
// causal, so generation refuses it.
#include <algorithm>

#include "moe/nn/moe/balance_losses.h"
#include "moe/nn/moe/routers.h"
#include "moe/nn/moe/softmax_router.h"

namespace moe {
namespace {

class ExpertChoiceRouter final : public SoftmaxRouter {
 public:
  ExpertChoiceRouter(const MoeConfig& c, int64_t d_model, DType dtype)
      : SoftmaxRouter(c, d_model, c.top_k, dtype) {}

 private:
  bool selects_causally(bool) const override { return false; }
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
  Var aux_loss(const Scores& s, const Chosen& chosen, const ForwardContext& ctx) const override {
    return z_part(s.logits_TE, z_loss_weight_, chosen.stats, ctx);
  }
};

}  // namespace

std::unique_ptr<Router> make_expert_choice_router(const MoeConfig& config, int64_t d_model,
                                                  DType dtype) {
  return std::make_unique<ExpertChoiceRouter>(config, d_model, dtype);
}

}  // namespace moe
