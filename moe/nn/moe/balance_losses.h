// SPDX-License-Identifier: MIT
// Auxiliary losses of routers. Values are float64 scalars, sums over tokens run in token order in
// float64.
#pragma once

#include "moe/nn/moe/router.h"

namespace moe {

/// Load-balancing loss of Switch Transformers (arXiv:2101.03961, eq. 4): E * sum_e f_e P_e, with
/// f_e = counts_E[e] / sum of counts and P_e the mean score of expert e over valid tokens. 1 when
/// loads and mean scores are uniform, E when all is one expert. scores_TE: rows that sum to 1.
/// Gradient flows through the scores only.
Var switch_loss(const Var& scores_TE, const std::vector<int64_t>& counts_E,
                const ForwardContext& ctx);

/// Router z-loss of ST-MoE (arXiv:2202.08906, eq. 5): mean over valid tokens of (logsumexp of the
/// logits)^2.
Var router_z_loss(const Var& logits_TE, const ForwardContext& ctx);

/// sum_e f_e * (mean over valid tokens of scores_te); f is constant. 0 without valid tokens.
Var weighted_column_means(const Var& scores_TE, const std::vector<double>& f_E,
                          const ForwardContext& ctx);

/// Mean over valid tokens of the entropy of their probabilities, in nats. probs_TE: rows that sum
/// to 1.
Var router_entropy(const Var& probs_TE, const ForwardContext& ctx);

/// loss * weight, which stats.balance_loss then holds.
Var balance_part(const Var& loss, double weight, RouterStats& stats);
/// The z-loss times weight, which stats.z_loss then holds.
Var z_part(const Var& logits_TE, double weight, RouterStats& stats, const ForwardContext& ctx);

/// s / sum_e s of each row: independent scores (sigmoid) as a distribution, for switch_loss.
Var normalize_rows(const Var& scores_TE);

}  // namespace moe
