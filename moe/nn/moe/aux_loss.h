// SPDX-License-Identifier: MIT
// A router's auxiliary loss as the configuration names it: one of the published balance losses, and
// what may come beside it. A weight means nothing without the loss it belongs to, so the name is a
// key of the model and travels with every checkpoint.
#pragma once

#include "moe/nn/model_config.h"
#include "moe/nn/moe/router.h"

namespace moe {

// clang-format off
/// Values of model.moe.balance_loss. With T valid tokens, k picks each, n_e picks of expert e of E,
/// P_e the mean probability and I_e the sum of combine weights:
///   switch           E sum (n_e / T k) P_e; 1 when balanced (Fedus et al. 2021, eq. 4)
///   switch_sequence  the same in each sequence, mean weighted by tokens (DeepSeek-V3, eq. 17)
///   switch_global    n_e of all micro-batches of the step so far (Qiu et al. 2025, arXiv:2501.11873)
///   hf               E sum (n_e / T) P_e over all layers' rows in one pool; k when balanced
///   gshard           1/E sum (n_e / T) P_e of first choices; 1 / E^2 when balanced (Lepikhin et al. 2020)
///   importance_load  E sum (I_e / sum I) (n_e / T k); 1 when balanced
///   cv2              CV^2(I) + CV^2(n); 0 when balanced (Shazeer et al. 2017, without noise)
// clang-format on
const std::vector<std::string>& balance_loss_names();

/// Whether the router's loss can be chosen: it has probabilities over experts and no loss that is
/// part of its method.
bool has_free_balance_loss(const std::string& router);

class AuxLoss {
 public:
  explicit AuxLoss(const MoeConfig& config);

  struct Inputs {
    const Var &logits_TE, &probs_TE;  // rows of probs sum to 1
    const Picks& picks;
    const Var& weight_A1;
    RouterStats& stats;  // counts_E; balance_loss and z_loss are filled
  };
  /// A float64 scalar: the sum of each loss times its weight, but for hf, which needs all layers.
  Var operator()(const Inputs& in, const ForwardContext& ctx) const;

 private:
  Var balance(const Inputs& in, const ForwardContext& ctx) const;
  Var between_devices(const Inputs& in, const ForwardContext& ctx) const;

  std::string name_;
  double weight_, z_weight_, l2_weight_, device_weight_, communication_weight_;
  int64_t n_devices_, devices_per_token_;
};

/// E sum_e f_e P_e with f_e = counts_E[e] / divisor, P_e the mean over valid tokens of probs_TE.
Var balance_product(const Var& probs_TE, const std::vector<int64_t>& counts_E, double divisor,
                    const ForwardContext& ctx);
/// The loss of transformers' load_balancing_loss_func: rows of all layers in one pool. `logits` of
/// the layers, [T, E] each; counts_E over all of them. valid_T of ctx is that of one layer.
Var pooled_balance_loss(const std::vector<Var>& logits_TE, const std::vector<int64_t>& counts_E,
                        const ForwardContext& ctx);
/// E sum_e (I_e / sum I) (n_e / sum n), and CV^2(I), with I_e the sum of expert e's combine
/// weights; gradient through the weights only.
Var importance_load_loss(const Var& weight_A1, const Picks& picks,
                         const std::vector<int64_t>& counts_E);
Var importance_cv2(const Var& weight_A1, const Picks& picks, int64_t n_experts);
/// Mean over valid tokens and experts of the squared logits ("router L2"; not the z-loss).
Var router_l2(const Var& logits_TE, const ForwardContext& ctx);

}  // namespace moe
