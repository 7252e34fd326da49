// SPDX-License-Identifier: MIT
// What every router must answer to one small question, worked out by hand: the list behind the
// self-test and the conformance test. A router without a line here fails both.
#pragma once

#include <cmath>
#include <utility>
#include <vector>

#include "moe/nn/model_config.h"

namespace moe {

/// Three tokens, four outputs, k = 2; logits are the logarithms of these, so that probabilities are
/// tenths, sigmoids c / (1 + c), and each logsumexp is log 10.
inline const std::vector<std::vector<double>> kRouterCaseCounts = {
    {1, 2, 3, 4}, {5, 1, 1, 3}, {3, 4, 2, 1}};

struct RouterCase {
  struct Known {
    int token, expert;
    double weight;
  };
  using Places = std::vector<std::pair<int, int>>;  // (token, expert)

  const char* name;
  int64_t n_identity;        // of the four outputs; moe_pp: identity and zero experts
  bool causal, may_starve;   // may_starve: an expert that nobody likes gets no token
  std::vector<Known> picks;  // for kRouterCaseCounts, scaling factor 2
  double balance;            // loss for kRouterCaseCounts; 0: the router has none
  Places equal_scores;       // picks of three tokens whose scores are all equal
  size_t picks_of_one = 2;   // experts of a single token; 0: it depends on the scores
  bool has_scores = true;    // false: routes are fixed, there is no gate and no z-loss
  bool causal_in_training = true;
  bool picks_tokens = true;  // false: slots of mixed tokens
};

const std::vector<RouterCase>& router_cases();
/// The configuration that the case's numbers are for: aux_loss_weight 0.5, z_loss_weight 0.25.
MoeConfig config_of(const RouterCase& router_case);

}  // namespace moe
