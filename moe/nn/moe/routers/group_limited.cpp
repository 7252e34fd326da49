// SPDX-License-Identifier: MIT
// Group-limited softmax routing (DeepSeek-V2, arXiv:2405.04434, section 2.1.2): of n_group groups
// of neighbouring experts, the topk_group with the largest single probability are open; the k best
// of their experts are taken. Weights are p times routed_scaling_factor, or, with norm_topk_prob
// and k > 1, p over the chosen ones' sum without the factor, as in DeepSeek-V2's own code.
#include <algorithm>
#include <numeric>

#include "moe/nn/moe/routers.h"
#include "moe/nn/moe/softmax_router.h"
#include "moe/ops/elementwise.h"
#include "moe/ops/select.h"

namespace moe {
namespace {

class GroupLimitedRouter final : public SoftmaxRouter {
 public:
  GroupLimitedRouter(const MoeConfig& c, int64_t d_model, DType dtype)
      : SoftmaxRouter(c, d_model, c.top_k, dtype),
        n_group_(c.n_group),
        topk_group_(c.topk_group),
        scaling_(c.routed_scaling_factor),
        normalize_(c.norm_topk_prob && c.top_k > 1) {}

 private:
  Picks select_experts(const Scores& s, const ForwardContext& ctx) const override {
    const Tensor& probs_TE = s.probs_TE.value();
    const int64_t group_size = n_experts_ / n_group_;
    std::vector<int32_t> groups(static_cast<size_t>(n_group_));
    std::iota(groups.begin(), groups.end(), 0);
    return token_choice(ctx, [&](int64_t t) {
      const auto probability = [&](int32_t e) { return score_at(probs_TE, t, e); };
      const auto best_of_group = [&](int32_t g) {
        double best = probability(int32_t(g * group_size));
        for (int64_t i = 1; i < group_size; ++i)
          best = std::max(best, probability(int32_t(g * group_size + i)));
        return best;
      };
      std::vector<int32_t> open;
      for (const int32_t g : k_best(groups, topk_group_, best_of_group))
        for (int64_t i = 0; i < group_size; ++i) open.push_back(int32_t(g * group_size + i));
      std::sort(open.begin(), open.end());
      return k_best(open, k_, probability);
    });
  }
  Var weigh(const Scores& s, const Picks& picks, int64_t n_tokens) const override {
    const Tensor token_A = pick_tokens(picks);
    const Var p_A1 = ops::select_elements(s.probs_TE, token_A, pick_experts(picks));
    return normalize_ ? ops::normalize_per_token(p_A1, token_A, n_tokens)
                      : ops::scale(p_A1, scaling_);
  }

  int64_t n_group_, topk_group_;
  double scaling_;
  bool normalize_;
};

}  // namespace

std::unique_ptr<Router> make_group_limited_router(const MoeConfig& config, int64_t d_model,
                                                  DType dtype) {
  return std::make_unique<GroupLimitedRouter>(config, d_model, dtype);
}

}  // namespace moe
