// SPDX-License-Identifier: MIT
#include "moe/nn/moe/assignment_router.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "moe/base/parallel.h"
#include "moe/nn/moe/score_ops.h"
#include "moe/nn/moe/sparse_dispatch.h"
#include "moe/ops/elementwise.h"
#include "moe/ops/select.h"

namespace moe {
namespace {

// What is taken from the logit of a closed expert: its softmax is 0, and sums stay finite.
constexpr float kClosed = 1e9f;

}  // namespace

Var zero_loss() { return Var(Tensor::zeros({1}, DType::f64)); }

void RouterStats::operator+=(const RouterStats& b) {
  auto plus = [](auto& to, const auto& from) {
    to.resize(std::max(to.size(), from.size()));
    for (size_t e = 0; e < from.size(); ++e) to[e] += from[e];
  };
  n_tokens += b.n_tokens;
  entropy_sum += b.entropy_sum;
  balance_loss += b.balance_loss;
  z_loss += b.z_loss;
  n_proposals += b.n_proposals;
  plus(counts_E, b.counts_E);
  plus(dropped_E, b.dropped_E);
  plus(prob_sum_E, b.prob_sum_E);
  plus(proposal_sum_E, b.proposal_sum_E);
}

double score_at(const Tensor& scores_TE, int64_t t, int64_t e) {
  const size_t i = size_t(t * scores_TE.size(1) + e);
  return scores_TE.dtype() == DType::f64 ? scores_TE.data<double>()[i]
                                         : double(scores_TE.data<float>()[i]);
}

std::vector<int32_t> k_best(std::vector<int32_t> candidates, int64_t k,
                            const std::function<double(int32_t)>& score) {
  auto better = [&](int32_t a, int32_t b) {
    const double x = score(a), y = score(b);
    if (std::isnan(x) || std::isnan(y)) return !std::isnan(x) && std::isnan(y);
    return x > y;
  };
  std::stable_sort(candidates.begin(), candidates.end(), better);
  candidates.resize(std::min(candidates.size(), size_t(k)));
  return candidates;
}

Picks token_choice(const ForwardContext& ctx,
                   const std::function<std::vector<int32_t>(int64_t)>& experts_of) {
  Picks picks;
  for (int64_t t = 0; t < ctx.n_tokens(); ++t) {
    if (!ctx.valid(t)) continue;
    int32_t choice = 0;
    for (const int32_t e : experts_of(t)) picks.push_back({e, int32_t(t), choice++});
  }
  return picks;
}

Picks top_k_picks(const Tensor& scores_TE, int64_t k, const ForwardContext& ctx) {
  const int64_t T = scores_TE.size(0);
  std::vector<int32_t> index_TK(size_t(T * k));
  kernels(scores_TE.dtype()).top_k(index_TK, scores_TE.view(), k);
  Picks picks;
  picks.reserve(index_TK.size());
  for (int64_t t = 0; t < T; ++t) {
    if (!ctx.valid(t)) continue;
    for (int64_t i = 0; i < k; ++i)
      picks.push_back({index_TK[size_t(t * k + i)], int32_t(t), int32_t(i)});
  }
  return picks;
}

namespace {

template <class F>
Tensor from_picks(const Picks& picks, F f) {
  const Tensor out = Tensor::empty({int64_t(picks.size())}, DType::i32);
  std::transform(picks.begin(), picks.end(), out.data<int32_t>().begin(), f);
  return out;
}

template <class T>
void add_scores(RouterStats& stats, const T* probs, int64_t n_tokens, int64_t E,
                const ForwardContext& ctx) {
  // Entropies of tokens on all threads; sums over tokens in their order.
  std::vector<double> entropy_T(size_t(n_tokens), 0), share_T(size_t(n_tokens), 0);
  parallel_for(n_tokens, 64, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const T* p_E = probs + t * E;
      double sum = 0, entropy = 0;
      for (int64_t e = 0; e < E; ++e) sum += double(p_E[e]);
      for (int64_t e = 0; e < E; ++e) {
        const double p = sum == 0 ? 0 : double(p_E[e]) / sum;  // relu: no expert may be open
        if (p > 0) entropy -= p * std::log(p);
      }
      entropy_T[size_t(t)] = entropy;
      share_T[size_t(t)] = sum;
    }
  });
  for (int64_t t = 0; t < n_tokens; ++t) {
    if (!ctx.valid(t)) continue;
    for (int64_t e = 0; e < E; ++e) {
      const double sum = share_T[size_t(t)], p = sum == 0 ? 0 : double(probs[t * E + e]) / sum;
      if (p > 0) stats.prob_sum_E[size_t(e)] += p;
    }
    stats.entropy_sum += entropy_T[size_t(t)];
    stats.n_tokens += 1;
  }
}

void add_scores(RouterStats& stats, const Tensor& probs_TE, const ForwardContext& ctx) {
  const int64_t T = probs_TE.size(0), E = probs_TE.size(1);
  if (probs_TE.dtype() == DType::f64)
    add_scores(stats, probs_TE.data<double>().data(), T, E, ctx);
  else
    add_scores(stats, probs_TE.data<float>().data(), T, E, ctx);
}

// By expert, then token, then choice. A counting sort by expert does it for picks that come token
// by token, as most routers make them.
void sort_picks(Picks& picks, int64_t n_experts) {
  std::vector<size_t> next(size_t(n_experts) + 1, 0);
  for (const Pick& p : picks) next[size_t(p.expert) + 1] += 1;
  for (size_t e = 0; e < size_t(n_experts); ++e) next[e + 1] += next[e];
  Picks sorted(picks.size());
  for (const Pick& p : picks) sorted[next[size_t(p.expert)]++] = p;
  if (!std::is_sorted(sorted.begin(), sorted.end())) std::sort(sorted.begin(), sorted.end());
  picks = std::move(sorted);
}

}  // namespace

Tensor pick_tokens(const Picks& picks) {
  return from_picks(picks, [](const Pick& p) { return p.token; });
}
Tensor pick_experts(const Picks& picks) {
  return from_picks(picks, [](const Pick& p) { return p.expert; });
}

Var AssignmentRouter::weigh(const Scores& scores, const Picks& picks, int64_t) const {
  return ops::select_elements(scores.probs_TE, pick_tokens(picks), pick_experts(picks));
}

Var AssignmentRouter::aux_loss(const Scores&, const Chosen&, const ForwardContext&) const {
  return zero_loss();
}

Routing Router::route_logits(const Var&, const ForwardContext&) const {
  throw Error("[router] this router mixes tokens; it makes no score of one token and one expert");
}

Routing AssignmentRouter::route(const Var& x_TD, const ForwardContext& ctx) const {
  return route_scores(score(x_TD, ctx), ctx);
}
Routing AssignmentRouter::route_logits(const Var& logits_TE, const ForwardContext& ctx) const {
  MOE_CHECK(logits_TE.size(1) == n_outputs() && logits_TE.size(0) == ctx.n_tokens(),
            "[router] logits ", logits_TE.shape().text(), " for ", ctx.n_tokens(), " tokens and ",
            n_outputs(), " outputs");
  return route_scores(score_logits(logits_TE), ctx);
}

Var AssignmentRouter::disturbed(const Var& logits_TE, const ForwardContext& ctx) const {
  if (!ctx.training) return logits_TE;
  Var z_TE = logits_TE;
  const int64_t step = int64_t(ctx.rng.step), O = logits_TE.size(1);
  if (step + 1 < router_warmup_steps_)
    z_TE = ops::scale(z_TE, double(step + 1) / double(router_warmup_steps_));
  if (router_noise_ > 0) {
    const Var draws_TE(normal_draws(z_TE.value(), ctx, "router.logit_noise"));
    z_TE = ops::add(z_TE, ops::scale(draws_TE, router_noise_));
  }
  if (expert_dropout_ == 0) return z_TE;
  // The experts with the smallest draws are closed, as long as enough are left for every token.
  const RngStream draws = ctx.rng.stream("router.expert_dropout", ctx.layer);
  std::vector<int32_t> closed;
  for (int32_t e = 0; e < O; ++e)
    if (draws.uniform(0, e) < expert_dropout_) closed.push_back(e);
  std::stable_sort(closed.begin(), closed.end(),
                   [&](int32_t a, int32_t b) { return draws.uniform(0, a) < draws.uniform(0, b); });
  closed.resize(std::min(closed.size(), size_t(std::max<int64_t>(0, O - picks_per_token_))));
  if (closed.empty()) return z_TE;
  const Tensor mask_TE = Tensor::zeros(z_TE.shape(), z_TE.dtype());
  const auto close = [&](auto values) {
    for (size_t i = 0; i < values.size(); i += size_t(O))
      for (const int32_t e : closed) values[i + size_t(e)] = -kClosed;
  };
  if (mask_TE.dtype() == DType::f64)
    close(mask_TE.data<double>());
  else
    close(mask_TE.data<float>());
  return ops::add(z_TE, Var(mask_TE));
}

Picks AssignmentRouter::uniform_picks(const ForwardContext& ctx) const {
  const RngStream draws = ctx.rng.stream("router.uniform_start", ctx.layer);
  const std::span<const int64_t> index = ctx.token_index_T.data<int64_t>();
  std::vector<int32_t> all(static_cast<size_t>(n_outputs()));
  std::iota(all.begin(), all.end(), 0);
  return token_choice(ctx, [&](int64_t t) {
    return k_best(all, std::min(picks_per_token_, n_outputs()),
                  [&](int32_t e) { return draws.uniform(index[size_t(t)], e); });
  });
}

Routing AssignmentRouter::route_scores(const Scores& scores, const ForwardContext& ctx) const {
  Picks picks;
  if (ctx.replay) {
    const auto recorded = ctx.replay->picks_of_layer.find(ctx.layer);
    MOE_CHECK(recorded != ctx.replay->picks_of_layer.end(),
              "[router] the replay holds no routes for layer ", ctx.layer);
    picks = recorded->second;
    for (const Pick& p : picks)
      MOE_CHECK(p.token >= 0 && p.token < ctx.n_tokens() && p.expert >= 0 && p.expert < n_outputs(),
                "[router] replayed pick of expert ", p.expert, " by token ", p.token,
                " does not fit ", n_outputs(), " experts and ", ctx.n_tokens(), " tokens");
  } else if (ctx.training && int64_t(ctx.rng.step) < uniform_start_steps_) {
    picks = uniform_picks(ctx);
  } else {
    picks = select_experts(scores, ctx);
  }
  sort_picks(picks, n_outputs());
  Var weight_A1 = weigh(scores, picks, ctx.n_tokens());
  RouterStats stats{size_t(n_outputs())};
  add_scores(stats, scores.probs_TE.value(), ctx);
  for (const Pick& p : picks) stats.counts_E[size_t(p.expert)] += 1;
  Var aux = aux_loss(scores, {picks, weight_A1, stats}, ctx);
  Picks kept = picks;
  if (capacity_.limits(ctx.training))
    weight_A1 = keep_what_fits(scores, kept, weight_A1, stats, ctx);
  LightExperts light{.n_constant = n_constant_, .n_identity = n_identity_};
  if (n_constant_ > 0)
    light.constant = [this](const Var& x_RD, int64_t j) { return constant_rows(x_RD, j); };
  return {std::make_unique<SparseDispatch>(kept, weight_A1, n_experts_, std::move(light)),
          std::move(aux),
          scores.logits_TE,
          std::move(stats),
          std::move(picks),
          std::move(kept),
          weight_A1};
}

Var AssignmentRouter::keep_what_fits(const Scores& scores, Picks& picks, const Var& weight_A1,
                                     RouterStats& stats, const ForwardContext& ctx) const {
  const Tensor &score_TE = scores.probs_TE.value(), &weights = weight_A1.value();
  const Capacity::Outcome outcome = capacity_.apply(
      picks, ctx, n_experts_,
      [&](int32_t expert, int32_t token) { return score_at(score_TE, token, expert); },
      [&](size_t i) { return score_at(weights, int64_t(i), 0); });
  // Weights are those of all the token's picks: a drop leaves the others as they are.
  const Var all_A1 =
      outcome.picks == picks ? weight_A1 : weigh(scores, outcome.picks, ctx.n_tokens());
  std::vector<int32_t> rows;
  Picks kept;
  for (size_t i = 0; i < outcome.picks.size(); ++i) {
    if (outcome.kept[i]) {
      kept.push_back(outcome.picks[i]);
      rows.push_back(int32_t(i));
    } else {
      stats.dropped_E[size_t(outcome.picks[i].expert)] += 1;
    }
  }
  picks = std::move(kept);
  return ops::gather_rows(all_A1, Tensor::from<int32_t>({int64_t(rows.size())}, rows));
}

GatedRouter::GatedRouter(const MoeConfig& config, const std::string& weight_name, int64_t d_model,
                         int64_t k, DType dtype)
    : AssignmentRouter(config),
      gate_({weight_name}, {router_outputs(config)}, d_model, false, dtype),
      k_(k) {
  gate_.role = Role::router;
}

}  // namespace moe
