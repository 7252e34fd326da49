// SPDX-License-Identifier: MIT
// Two-level routing (Shazeer et al. 2017, arXiv:1701.06538, appendix B): a primary gate takes
// topk_group of n_group groups of neighbouring experts, a secondary gate takes top_k / topk_group
// experts inside each. The probability of an expert is that of its group times that inside the
// group; a chosen group's weight is its probability over that of the chosen groups, an expert's the
// group's weight times its probability over that of the chosen experts of the group. The balance
// loss is Switch's over all experts.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "moe/nn/moe/routers.h"
#include "moe/nn/moe/score_ops.h"
#include "moe/nn/moe/softmax_router.h"
#include "moe/ops/elementwise.h"
#include "moe/ops/select.h"

namespace moe {
namespace {

// Logits whose softmax over all experts is softmax(primary) times softmax(secondary) in each group:
// l_ij = primary_i + secondary_ij - logsumexp_j secondary_ij.
Var joint_logits(const Var& primary_TG, const Var& secondary_TE) {
  const int64_t T = primary_TG.size(0), G = primary_TG.size(1), E = secondary_TE.size(1),
                size = E / G;
  std::vector<double> logits(size_t(T * E)), inside(size_t(T * E));
  for (int64_t t = 0; t < T; ++t)
    for (int64_t g = 0; g < G; ++g) {
      double top = score_at(secondary_TE.value(), t, g * size), sum = 0;
      for (int64_t e = g * size; e < (g + 1) * size; ++e)
        top = std::max(top, score_at(secondary_TE.value(), t, e));
      for (int64_t e = g * size; e < (g + 1) * size; ++e)
        sum += std::exp(score_at(secondary_TE.value(), t, e) - top);
      for (int64_t e = g * size; e < (g + 1) * size; ++e) {
        const double log_p = score_at(secondary_TE.value(), t, e) - top - std::log(sum);
        inside[size_t(t * E + e)] = std::exp(log_p);
        logits[size_t(t * E + e)] = score_at(primary_TG.value(), t, g) + log_p;
      }
    }
  const Tensor y = Tensor::from<double>({T, E}, logits).to(secondary_TE.dtype());
  return record("joint_logits", y, {primary_TG, secondary_TE}, [=](const Tensor& dy) {
    for (int64_t t = 0; t < T; ++t)
      for (int64_t g = 0; g < G; ++g) {
        double sum = 0;
        for (int64_t e = g * size; e < (g + 1) * size; ++e) sum += score_at(dy, t, e);
        add_to_score_grad(primary_TG, t, g, sum);
        for (int64_t e = g * size; e < (g + 1) * size; ++e)
          add_to_score_grad(secondary_TE, t, e,
                            score_at(dy, t, e) - sum * inside[size_t(t * E + e)]);
      }
  });
}

class HierarchicalRouter final : public SoftmaxRouter {
 public:
  HierarchicalRouter(const MoeConfig& c, int64_t d_model, DType dtype)
      : SoftmaxRouter(c, d_model, c.top_k, dtype),
        groups_gate_({"group_gate"}, {c.n_group}, d_model, false, dtype),
        n_group_(c.n_group),
        topk_group_(c.topk_group) {
    groups_gate_.role = Role::router;
  }
  void visit_own(const Visitor& v) const override {
    GatedRouter::visit_own(v);
    groups_gate_.visit(v);
  }

 private:
  Scores score(const Var& x_TD, const ForwardContext& ctx) const override {
    return score_logits(disturbed(joint_logits(groups_gate_(x_TD, ctx), gate_(x_TD, ctx)), ctx));
  }
  Picks select_experts(const Scores& s, const ForwardContext& ctx) const override {
    const Tensor groups_TG = group_sums(Var(s.probs_TE.value()), n_group_).value();
    const int64_t size = n_experts_ / n_group_;
    std::vector<int32_t> groups(static_cast<size_t>(n_group_));
    std::iota(groups.begin(), groups.end(), 0);
    return token_choice(ctx, [&](int64_t t) {
      const auto probability = [&](int32_t e) { return score_at(s.probs_TE.value(), t, e); };
      std::vector<int32_t> chosen;
      for (const int32_t g :
           k_best(groups, topk_group_, [&](int32_t i) { return score_at(groups_TG, t, i); })) {
        std::vector<int32_t> members(static_cast<size_t>(size));
        std::iota(members.begin(), members.end(), int32_t(g * size));
        for (const int32_t e : k_best(members, k_ / topk_group_, probability)) chosen.push_back(e);
      }
      return chosen;
    });
  }
  Var weigh(const Scores& s, const Picks& picks, int64_t n_tokens) const override {
    const int64_t size = n_experts_ / n_group_;
    Picks by_group = picks;
    const Tensor key_A = Tensor::empty({int64_t(picks.size())}, DType::i32);  // token and group
    for (size_t a = 0; a < picks.size(); ++a) {
      by_group[a].expert = int32_t(picks[a].expert / size);
      key_A.data<int32_t>()[a] = int32_t(picks[a].token * n_group_ + by_group[a].expert);
    }
    const Tensor token_A = pick_tokens(picks);
    const Var inside_A1 = ops::normalize_per_token(
        ops::select_elements(s.probs_TE, token_A, pick_experts(picks)), key_A, n_tokens * n_group_);
    // A chosen group stands once for each of its chosen experts.
    const Var group_A1 = ops::normalize_per_token(
        ops::select_elements(group_sums(s.probs_TE, n_group_), token_A, pick_experts(by_group)),
        token_A, n_tokens);
    return ops::scale(ops::multiply(group_A1, inside_A1), double(k_ / topk_group_));
  }

  Linear groups_gate_;  // [G, D]
  int64_t n_group_, topk_group_;
};

}  // namespace

std::unique_ptr<Router> make_hierarchical_router(const MoeConfig& config, int64_t d_model,
                                                 DType dtype) {
  return std::make_unique<HierarchicalRouter>(config, d_model, dtype);
}

}  // namespace moe
