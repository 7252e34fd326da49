// SPDX-License-Identifier: MIT
#include "moe/nn/moe/capacity.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace moe {

int64_t expert_capacity(const MoeConfig& c, double factor, int64_t tokens) {
  const double T = double(tokens), E = double(c.n_experts), k = double(experts_per_token(c));
  double capacity = c.capacity_formula == "tokens" ? factor * T / E : factor * T * k / E;
  if (c.capacity_formula == "tutel") capacity = k * std::floor(factor * std::ceil(T / E));
  // A product that should be whole may lie a rounding above it.
  capacity = c.capacity_rounding == "floor" ? std::floor(capacity * (1 + 1e-12))
                                            : std::ceil(capacity * (1 - 1e-12));
  if (c.capacity_rounding == "up_to_4") capacity = std::ceil(capacity / 4) * 4;
  const double most = std::max(1.0, T);
  return int64_t(std::clamp(std::max(capacity, double(c.capacity_min)), 1.0, most));
}

Capacity::Capacity(const MoeConfig& config)
    : config_(config), factor_1_(Tensor::zeros({1}, DType::f32)) {
  factor_1_.data<float>()[0] = float(config.capacity_factor);
}

bool Capacity::is_steered() const {
  return config_.capacity_target_drop > 0 && config_.capacity_factor > 0;
}

double Capacity::factor() const {
  return is_steered() ? double(factor_1_.data<float>()[0]) : config_.capacity_factor;
}

bool Capacity::limits(bool training) const {
  return config_.capacity_factor > 0 && (training || config_.capacity_eval != "none");
}

bool Capacity::is_causal(bool training) const {
  return !limits(training) || !training || config_.capacity_order == "token_major";
}

// The order in which picks claim room, as their numbers.
std::vector<size_t> Capacity::claims(const Picks& picks, const ForwardContext& ctx,
                                     const std::function<double(int32_t, int32_t)>& score,
                                     const std::function<double(size_t)>& weight_of,
                                     const std::string& order) const {
  std::vector<size_t> all(picks.size());
  std::iota(all.begin(), all.end(), 0);
  const auto in_order = [&](auto key) {
    std::stable_sort(all.begin(), all.end(), [&](size_t a, size_t b) { return key(a) < key(b); });
  };
  in_order([&](size_t i) { return std::pair(picks[i].token, picks[i].choice); });
  if (order == "slot_major") {
    in_order([&](size_t i) { return picks[i].choice; });
  } else if (order == "bpr") {
    std::vector<double> best_T(size_t(ctx.n_tokens()), 0);
    for (const Pick& p : picks)
      if (p.choice == 0) best_T[size_t(p.token)] = score(p.expert, p.token);
    in_order([&](size_t i) { return std::pair(picks[i].choice, -best_T[size_t(picks[i].token)]); });
  } else if (order == "probability") {
    in_order([&](size_t i) { return -weight_of(i); });
  }
  return all;
}

Capacity::Outcome Capacity::apply(const Picks& picks, const ForwardContext& ctx, int64_t n_experts,
                                  const std::function<double(int32_t, int32_t)>& score,
                                  const std::function<double(size_t)>& weight_of) const {
  const bool by_batch = ctx.training && config_.capacity_group == "batch";
  const std::span<const int32_t> starts = ctx.sequence_starts_B1.data<int32_t>();
  const int64_t B = int64_t(starts.size()) - 1,
                C = expert_capacity(config_, factor(),
                                    config_.capacity_tokens * (by_batch ? B : 1));
  std::vector<int32_t> group_T(size_t(ctx.n_tokens()), 0);
  for (int64_t b = 0; b < B && !by_batch; ++b)
    std::fill(group_T.begin() + starts[size_t(b)], group_T.begin() + starts[size_t(b) + 1],
              int32_t(b));
  // [group][expert]; sequences that go on begin with what they took before.
  std::vector<std::vector<int32_t>> taken(size_t(by_batch ? 1 : B),
                                          std::vector<int32_t>(size_t(n_experts), 0));
  const bool goes_on = !ctx.training && !ctx.taken_B.empty();
  for (int64_t b = 0; b < B && goes_on; ++b)
    if (const auto it = ctx.taken_B[size_t(b)]->of_layer.find(ctx.layer);
        it != ctx.taken_B[size_t(b)]->of_layer.end())
      taken[size_t(b)] = it->second;

  std::vector<std::vector<int32_t>> experts_T(size_t(ctx.n_tokens()));
  for (const Pick& p : picks) experts_T[size_t(p.token)].push_back(p.expert);
  std::vector<std::pair<Pick, bool>> out;
  out.reserve(picks.size());
  for (const size_t i : claims(picks, ctx, score, weight_of,
                               ctx.training ? config_.capacity_order : "token_major")) {
    Pick p = picks[i];
    std::vector<int32_t>& room_used = taken[size_t(group_T[size_t(p.token)])];
    const auto has_room = [&](int32_t e) { return e >= n_experts || room_used[size_t(e)] < C; };
    if (!has_room(p.expert) && config_.capacity_overflow == "reroute") {
      std::vector<int32_t>& own = experts_T[size_t(p.token)];
      int32_t next = -1;
      for (int32_t e = 0; e < n_experts; ++e)
        if (has_room(e) && std::find(own.begin(), own.end(), e) == own.end() &&
            (next < 0 || score(e, p.token) > score(next, p.token)))
          next = e;
      if (next >= 0) {
        p.expert = next;
        own.push_back(next);
      }
    }
    const bool kept = has_room(p.expert);
    if (kept && p.expert < n_experts) room_used[size_t(p.expert)] += 1;
    out.emplace_back(p, kept);
  }
  for (int64_t b = 0; b < B && goes_on; ++b)
    ctx.taken_B[size_t(b)]->of_layer[ctx.layer] = taken[size_t(b)];
  std::sort(out.begin(), out.end());
  Outcome outcome;
  for (const auto& [pick, kept] : out) {
    outcome.picks.push_back(pick);
    outcome.kept.push_back(kept);
  }
  return outcome;
}

void Capacity::after_step(const RouterTotals& totals) {
  if (!is_steered()) return;
  const auto sum = [](const std::vector<int64_t>& v) {
    return double(std::accumulate(v.begin(), v.end(), int64_t{0}));
  };
  const double picked = sum(totals.counts_E);
  if (picked == 0) return;
  constexpr float kStep = 1.02f;
  float& steered = factor_1_.data<float>()[0];
  steered *= sum(totals.dropped_E) / picked > config_.capacity_target_drop ? kStep : 1 / kStep;
  steered = std::clamp(steered, 0.01f, float(config_.n_experts));  // E: no expert can be full
}

void Capacity::visit(const Visitor& v) const {
  if (is_steered()) v.buffer({v.prefix + "gate.capacity_factor", factor_1_});
}

}  // namespace moe
