// SPDX-License-Identifier: MIT
#include "moe/nn/moe/aux_loss.h"

#include <algorithm>
#include <numeric>

#include "moe/nn/moe/assignment_router.h"
#include "moe/nn/moe/balance_losses.h"
#include "moe/nn/moe/score_ops.h"
#include "moe/ops/elementwise.h"
#include "moe/ops/rows.h"
#include "moe/ops/softmax.h"

namespace moe {
namespace {

double sum_of(const std::vector<int64_t>& counts) {
  return double(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
}

// f of the experts' sums of combine weights, with its slopes.
template <class F>
Var of_importance(const char* op, const Var& weight_A1, const Picks& picks, int64_t n_experts,
                  F f) {
  std::vector<double> sum_E(size_t(n_experts), 0), slope_E(size_t(n_experts), 0);
  for (size_t a = 0; a < picks.size(); ++a)
    sum_E[size_t(picks[a].expert)] += score_at(weight_A1.value(), int64_t(a), 0);
  const double value = f(sum_E, slope_E);
  std::vector<int32_t> expert_A;
  for (const Pick& p : picks) expert_A.push_back(p.expert);
  return record(op, scalar_tensor(value), {weight_A1},
                [=, expert_A = std::move(expert_A)](const Tensor& dloss) {
                  for (size_t a = 0; a < expert_A.size(); ++a)
                    add_to_score_grad(weight_A1, int64_t(a), 0,
                                      dloss.data<double>()[0] * slope_E[size_t(expert_A[a])]);
                });
}

}  // namespace

const std::vector<std::string>& balance_loss_names() {
  static const std::vector<std::string> names = {
      "switch", "switch_sequence", "switch_global", "hf", "gshard", "importance_load", "cv2"};
  return names;
}

bool has_free_balance_loss(const std::string& router) {
  static const std::vector<std::string> routers = {"top_k",  "sigmoid_bias",  "longcat",
                                                   "switch", "group_limited", "top_p",
                                                   "cosine", "hierarchical"};
  return std::find(routers.begin(), routers.end(), router) != routers.end();
}

AuxLoss::AuxLoss(const MoeConfig& c)
    : name_(c.balance_loss),
      weight_(c.aux_loss_weight),
      z_weight_(c.z_loss_weight),
      l2_weight_(c.router_l2_weight),
      device_weight_(c.device_loss_weight),
      communication_weight_(c.communication_loss_weight),
      n_devices_(c.n_devices),
      devices_per_token_(std::min(c.router == "group_limited" ? c.topk_group : c.n_devices,
                                  std::min(experts_per_token(c), c.n_devices))) {}

Var balance_product(const Var& probs_TE, const std::vector<int64_t>& counts_E, double divisor,
                    const ForwardContext& ctx) {
  if (divisor == 0) return zero_loss();
  std::vector<double> f_E(counts_E.size(), 0);
  for (size_t e = 0; e < f_E.size(); ++e) f_E[e] = double(counts_E[e]) / divisor;
  return ops::scale(weighted_column_means(probs_TE, f_E, ctx), double(f_E.size()));
}

Var importance_load_loss(const Var& weight_A1, const Picks& picks,
                         const std::vector<int64_t>& counts_E) {
  const double n = sum_of(counts_E), E = double(counts_E.size());
  return of_importance("importance_load", weight_A1, picks, int64_t(counts_E.size()),
                       [&](const std::vector<double>& I, std::vector<double>& slope) {
                         const double total = std::accumulate(I.begin(), I.end(), 0.0);
                         if (total == 0 || n == 0) return 0.0;
                         double mean = 0;
                         for (size_t e = 0; e < I.size(); ++e)
                           mean += I[e] / total * double(counts_E[e]) / n;
                         for (size_t e = 0; e < I.size(); ++e)
                           slope[e] = E * (double(counts_E[e]) / n - mean) / total;
                         return E * mean;
                       });
}

Var importance_cv2(const Var& weight_A1, const Picks& picks, int64_t n_experts) {
  return of_importance("importance_cv2", weight_A1, picks, n_experts,
                       [](const std::vector<double>& I, std::vector<double>& slope) {
                         const CvSquared cv2(I);
                         for (size_t e = 0; e < I.size(); ++e) slope[e] = cv2.slope(e);
                         return cv2.value();
                       });
}

Var router_l2(const Var& logits_TE, const ForwardContext& ctx) {
  const int64_t T = logits_TE.size(0), E = logits_TE.size(1);
  double sum = 0, n = 0;
  for (int64_t t = 0; t < T; ++t) {
    if (!ctx.valid(t)) continue;
    n += double(E);
    for (int64_t e = 0; e < E; ++e) {
      const double z = score_at(logits_TE.value(), t, e);
      sum += z * z;
    }
  }
  if (n == 0) return zero_loss();
  return record("router_l2", scalar_tensor(sum / n), {logits_TE}, [=](const Tensor& dloss) {
    for (int64_t t = 0; t < T; ++t)
      for (int64_t e = 0; ctx.valid(t) && e < E; ++e)
        add_to_score_grad(logits_TE, t, e,
                          dloss.data<double>()[0] * 2 / n * score_at(logits_TE.value(), t, e));
  });
}

Var pooled_balance_loss(const std::vector<Var>& logits_TE, const std::vector<int64_t>& counts_E,
                        const ForwardContext& ctx) {
  int64_t n_valid = 0;
  for (int64_t t = 0; t < ctx.n_tokens(); ++t) n_valid += ctx.valid(t);
  // The mean over the pool is the mean of the layers' means.
  Var sum = zero_loss();
  for (const Var& layer_TE : logits_TE)
    sum = ops::add(sum, balance_product(ops::softmax(layer_TE), counts_E,
                                        double(n_valid) * double(logits_TE.size()), ctx));
  return ops::scale(sum, 1.0 / double(std::max<size_t>(1, logits_TE.size())));
}

Var AuxLoss::balance(const Inputs& in, const ForwardContext& ctx) const {
  const std::vector<int64_t>& counts_E = in.stats.counts_E;
  const int64_t E = int64_t(counts_E.size());
  if (name_ == "hf") return zero_loss();
  if (name_ == "importance_load") return importance_load_loss(in.weight_A1, in.picks, counts_E);
  if (name_ == "cv2") {
    const Var load(
        scalar_tensor(CvSquared(std::vector<double>(counts_E.begin(), counts_E.end())).value()));
    return ops::add(importance_cv2(in.weight_A1, in.picks, E), load);
  }
  if (name_ == "gshard") {
    std::vector<int64_t> first_E(size_t(E), 0);
    for (const Pick& p : in.picks) first_E[size_t(p.expert)] += p.choice == 0;
    return ops::scale(balance_product(in.probs_TE, first_E, double(in.stats.n_tokens), ctx),
                      1.0 / (double(E) * double(E)));
  }
  if (name_ == "switch_global") {
    std::vector<int64_t> all_E = counts_E;
    if (ctx.step_counts) {
      const auto before = ctx.step_counts->find(ctx.layer);
      if (before != ctx.step_counts->end())
        for (size_t e = 0; e < all_E.size(); ++e) all_E[e] += before->second[e];
    }
    return balance_product(in.probs_TE, all_E, sum_of(all_E), ctx);
  }
  if (name_ == "switch_sequence") {
    const std::span<const int32_t> starts = ctx.sequence_starts_B1.data<int32_t>();
    Var sum = zero_loss();
    for (size_t b = 0; b + 1 < starts.size(); ++b) {
      ForwardContext own = ctx;
      own.valid_T = Tensor::zeros({ctx.n_tokens()}, DType::u8);
      int64_t n = 0;
      for (int64_t t = starts[b]; t < starts[b + 1]; ++t) {
        own.valid_T.data<uint8_t>()[size_t(t)] = ctx.valid(t);
        n += ctx.valid(t);
      }
      std::vector<int64_t> own_E(size_t(E), 0);
      for (const Pick& p : in.picks)
        own_E[size_t(p.expert)] += p.token >= starts[b] && p.token < starts[b + 1];
      if (n > 0)
        sum = ops::add(sum, ops::scale(balance_product(in.probs_TE, own_E, sum_of(own_E), own),
                                       double(n) / double(in.stats.n_tokens)));
    }
    return sum;
  }
  return switch_loss(in.probs_TE, counts_E, ctx);
}

// DeepSeek-V2 (arXiv:2405.04434), eqs. 26 to 32: experts in n_devices equal groups.
Var AuxLoss::between_devices(const Inputs& in, const ForwardContext& ctx) const {
  const size_t E = in.stats.counts_E.size(), D = size_t(n_devices_), size = E / D;
  const double T = double(in.stats.n_tokens), picks = sum_of(in.stats.counts_E);
  Var sum = zero_loss();
  if (picks == 0) return sum;
  std::vector<double> f_E(E, 0);
  if (device_weight_ > 0) {  // sum_i (mean of the group's f_e) (sum of its P_e), f_e = E n_e / T k
    for (size_t e = 0; e < E; ++e) {
      double group = 0;
      for (size_t j = e / size * size; j < (e / size + 1) * size; ++j)
        group += double(in.stats.counts_E[j]);
      f_E[e] = double(E) * group / (double(size) * picks);
    }
    sum = ops::add(sum, ops::scale(weighted_column_means(in.probs_TE, f_E, ctx), device_weight_));
  }
  if (communication_weight_ > 0) {  // f_i = D / (M T) tokens that are sent to device i
    std::vector<std::pair<int32_t, size_t>> sent;
    for (const Pick& p : in.picks) sent.emplace_back(p.token, size_t(p.expert) / size);
    std::sort(sent.begin(), sent.end());
    sent.erase(std::unique(sent.begin(), sent.end()), sent.end());
    std::fill(f_E.begin(), f_E.end(), 0);
    for (const auto& [token, device] : sent)
      for (size_t j = device * size; j < (device + 1) * size; ++j)
        f_E[j] += double(D) / (double(devices_per_token_) * T);
    sum = ops::add(sum,
                   ops::scale(weighted_column_means(in.probs_TE, f_E, ctx), communication_weight_));
  }
  return sum;
}

Var AuxLoss::operator()(const Inputs& in, const ForwardContext& ctx) const {
  Var balanced = balance_part(balance(in, ctx), weight_, in.stats);
  if (device_weight_ > 0 || communication_weight_ > 0) {
    const Var devices = between_devices(in, ctx);
    in.stats.balance_loss += devices.value().data<double>()[0];
    balanced = ops::add(balanced, devices);
  }
  Var z = z_part(in.logits_TE, z_weight_, in.stats, ctx);
  if (l2_weight_ > 0) {
    const Var l2 = ops::scale(router_l2(in.logits_TE, ctx), l2_weight_);
    in.stats.z_loss += l2.value().data<double>()[0];
    z = ops::add(z, l2);
  }
  return ops::add(balanced, z);
}

}  // namespace moe
