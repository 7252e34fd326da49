// SPDX-License-Identifier: MIT
// GShard's top-2 routing (Lepikhin et al. 2020, arXiv:2006.16668, section 2.2): the two best
// experts, weighted by their probabilities over the sum of both. In training the second one may be
// left out: where its weight is at most second_expert_threshold (threshold), or with probability
// 1 - weight / threshold (random); the first keeps its weight. The balance loss counts first
// choices alone. model.moe.top_k has no meaning.
#include <algorithm>

#include "moe/nn/moe/balance_losses.h"
#include "moe/nn/moe/routers.h"
#include "moe/nn/moe/softmax_router.h"
#include "moe/ops/elementwise.h"
#include "moe/ops/rows.h"
#include "moe/ops/select.h"

namespace moe {
namespace {

class GshardRouter final : public SoftmaxRouter {
 public:
  GshardRouter(const MoeConfig& c, int64_t d_model, DType dtype)
      : SoftmaxRouter(c, d_model, std::min<int64_t>(2, c.n_experts), dtype),
        policy_(c.second_expert_policy),
        threshold_(c.second_expert_threshold) {}

 private:
  Picks select_experts(const Scores& s, const ForwardContext& ctx) const override {
    const Tensor& p_TE = s.probs_TE.value();
    const Picks two = top_k_picks(p_TE, k_, ctx);
    if (!ctx.training || policy_ == "all" || k_ < 2) return two;
    const RngStream draws = ctx.rng.stream("router.gshard", ctx.layer);
    const std::span<const int64_t> index = ctx.token_index_T.data<int64_t>();
    Picks kept;
    for (size_t i = 0; i + 1 < two.size(); i += 2) {
      const int64_t t = two[i].token;
      const double p1 = score_at(p_TE, t, two[i].expert), p2 = score_at(p_TE, t, two[i + 1].expert),
                   weight = p2 / (p1 + p2);
      kept.push_back(two[i]);
      if (policy_ == "threshold" ? weight > threshold_
                                 : draws.uniform(index[size_t(t)], 0) * threshold_ < weight)
        kept.push_back(two[i + 1]);
    }
    return kept;
  }

  // A token that lost its second expert still divides by both.
  Var weigh(const Scores& s, const Picks& picks, int64_t n_tokens) const override {
    const Tensor& p_TE = s.probs_TE.value();
    std::vector<std::vector<int32_t>> experts_T(static_cast<size_t>(n_tokens));
    for (const Pick& p : picks) experts_T[size_t(p.token)].push_back(p.expert);
    Picks both;
    std::vector<size_t> first_of_T(size_t(n_tokens), 0);
    for (int32_t t = 0; t < int32_t(n_tokens); ++t) {
      std::vector<int32_t>& experts = experts_T[size_t(t)];
      first_of_T[size_t(t)] = both.size();
      if (experts.empty()) continue;
      if (experts.size() == 1 && k_ > 1) {
        std::vector<int32_t> others;
        for (int32_t e = 0; e < n_experts_; ++e)
          if (e != experts[0]) others.push_back(e);
        experts.push_back(k_best(others, 1, [&](int32_t e) { return score_at(p_TE, t, e); })[0]);
      }
      for (const int32_t e : experts) both.push_back({e, t, 0});
    }
    const Tensor token_N = pick_tokens(both);
    const Var w_N1 = ops::normalize_per_token(
        ops::select_elements(s.probs_TE, token_N, pick_experts(both)), token_N, n_tokens);
    const Tensor row_A = Tensor::empty({int64_t(picks.size())}, DType::i32);
    for (size_t a = 0; a < picks.size(); ++a) {
      size_t row = first_of_T[size_t(picks[a].token)];
      while (both[row].expert != picks[a].expert) ++row;
      row_A.data<int32_t>()[a] = int32_t(row);
    }
    return ops::gather_rows(w_N1, row_A);
  }

  Var aux_loss(const Scores& s, const Chosen& chosen, const ForwardContext& ctx) const override {
    std::vector<int64_t> first_E(size_t(n_experts_), 0);
    for (const Pick& p : top_k_picks(s.probs_TE.value(), 1, ctx)) first_E[size_t(p.expert)] += 1;
    const Var balance =
        balance_part(switch_loss(s.probs_TE, first_E, ctx), aux_loss_weight_, chosen.stats);
    return ops::add(balance, z_part(s.logits_TE, z_loss_weight_, chosen.stats, ctx));
  }

  std::string policy_;
  double threshold_;
};

}  // namespace

std::unique_ptr<Router> make_gshard_router(const MoeConfig& config, int64_t d_model, DType dtype) {
  return std::make_unique<GshardRouter>(config, d_model, dtype);
}

}  // namespace moe
