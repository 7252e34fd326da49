// SPDX-License-Identifier: MIT
// BASE layers (Lewis et al. 2021, arXiv:2103.16716): one expert a token, weighted by the sigmoid of
// its logit. In training the tokens of a sequence are assigned so that each expert takes at most
// ceil(T / E) of them and the sum of logits is as large as can be: balanced without a loss, but a
// route depends on later tokens. Otherwise the largest logit. model.moe.top_k has no meaning.
#include <algorithm>
#include <limits>
#include <queue>

#include "moe/nn/model_config.h"
#include "moe/nn/moe/assignment_router.h"
#include "moe/nn/moe/balance_losses.h"
#include "moe/nn/moe/routers.h"
#include "moe/ops/activation.h"

namespace moe {

// Tokens enter one by one. Each takes the best path of exchanges: it takes expert e, a token of e
// moves to f, ... until an expert with room; a path's value is the sum of the changes. Moving the
// best token of e to f is one edge of a graph of E nodes, in which Bellman and Ford's rule finds
// the best path (an optimal assignment leaves no cycle that gains).
std::vector<int32_t> balanced_assignment(const std::vector<double>& scores_TE, int64_t n_experts) {
  const size_t E = size_t(n_experts), T = scores_TE.size() / E, room = (T + E - 1) / E;
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  std::vector<std::vector<size_t>> tokens_E(E);
  std::vector<int32_t> expert_T(T, -1);
  // best_EE[e * E + f]: the largest gain of moving a token of e to f; by which token.
  std::vector<double> gain_EE(E * E, kNone);
  std::vector<size_t> mover_EE(E * E, 0);
  const auto refresh = [&](size_t e) {
    for (size_t f = 0; f < E; ++f) {
      double& best = gain_EE[e * E + f];
      best = kNone;
      for (const size_t t : tokens_E[e])
        if (const double gain = scores_TE[t * E + f] - scores_TE[t * E + e];
            f != e && gain > best) {
          best = gain;
          mover_EE[e * E + f] = t;
        }
    }
  };
  for (size_t t = 0; t < T; ++t) {
    std::vector<double> value(scores_TE.begin() + int64_t(t * E),
                              scores_TE.begin() + int64_t((t + 1) * E));
    std::vector<int32_t> from(E, -1);
    bool changed = true;
    for (size_t round = 0; changed && round < E; ++round) {
      changed = false;
      for (size_t e = 0; e < E; ++e)
        for (size_t f = 0; f < E; ++f)
          // The tolerance keeps rounding from going round in a circle.
          if (const double v = value[e] + gain_EE[e * E + f]; v > value[f] + 1e-12) {
            value[f] = v;
            from[f] = int32_t(e);
            changed = true;
          }
    }
    size_t last = E;
    for (size_t e = 0; e < E; ++e)
      if (tokens_E[e].size() < room && (last == E || value[e] > value[last])) last = e;
    // Back along the path: who moves into `at` comes from from[at].
    size_t at = last;
    for (size_t hops = 0; from[at] >= 0 && hops < E; ++hops) {
      const size_t e = size_t(from[at]), moved = mover_EE[e * E + at];
      std::erase(tokens_E[e], moved);
      tokens_E[at].push_back(moved);
      expert_T[moved] = int32_t(at);
      at = e;
    }
    tokens_E[at].push_back(t);
    expert_T[t] = int32_t(at);
    for (size_t e = 0; e < E; ++e) refresh(e);
  }
  return expert_T;
}

namespace {

class BaseRouter final : public GatedRouter {
 public:
  BaseRouter(const MoeConfig& c, int64_t d_model, DType dtype)
      : GatedRouter(c, "gate", d_model, 1, dtype), z_loss_weight_(c.z_loss_weight) {}

 private:
  bool selects_causally(bool training) const override { return !training; }
  Scores score_logits(const Var& logits_TE) const override {
    return {logits_TE, ops::activation(logits_TE, Activation::sigmoid)};
  }
  Picks select_experts(const Scores& s, const ForwardContext& ctx) const override {
    if (!ctx.training) return top_k_picks(s.logits_TE.value(), 1, ctx);
    Picks picks;
    const std::span<const int32_t> starts = ctx.sequence_starts_B1.data<int32_t>();
    for (size_t b = 0; b + 1 < starts.size(); ++b) {
      std::vector<double> logits;
      std::vector<int32_t> tokens;
      for (int32_t t = starts[b]; t < starts[b + 1]; ++t) {
        if (!ctx.valid(t)) continue;
        tokens.push_back(t);
        for (int64_t e = 0; e < n_experts_; ++e)
          logits.push_back(score_at(s.logits_TE.value(), t, e));
      }
      const std::vector<int32_t> expert = balanced_assignment(logits, n_experts_);
      for (size_t i = 0; i < tokens.size(); ++i) picks.push_back({expert[i], tokens[i], 0});
    }
    return picks;
  }
  Var aux_loss(const Scores& s, const Chosen& c, const ForwardContext& ctx) const override {
    return z_part(s.logits_TE, z_loss_weight_, c.stats, ctx);
  }

  double z_loss_weight_;
};

}  // namespace

std::unique_ptr<Router> make_base_router(const MoeConfig& config, int64_t d_model, DType dtype) {
  return std::make_unique<BaseRouter>(config, d_model, dtype);
}

}  // namespace moe
