// SPDX-License-Identifier: MIT
// The seam of every Mixture-of-Experts layer: Router -> Dispatch -> Exchange -> Experts -> combine.
// A router says how token rows reach experts and come back and returns its auxiliary loss; experts
// see only rows grouped by expert.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "moe/nn/forward_context.h"
#include "moe/nn/module.h"
#include "moe/ops/rows.h"

namespace moe {

struct MoeConfig;

/// Sums, not means, so that micro-batches and ranks add up; also what after_step receives.
struct RouterStats {
  int64_t n_tokens = 0;
  std::vector<int64_t> counts_E, dropped_E;  // counts: picks before any drop
  std::vector<double> prob_sum_E;            // sum over tokens of the normalised scores
  double entropy_sum = 0;                    // of each token's normalised scores, in nats
  double balance_loss = 0, z_loss = 0;       // weighted parts of aux_loss
  std::vector<double> proposal_sum_E;        // quantile: sum of the micro-batches' biases
  int64_t n_proposals = 0;

  explicit RouterStats(size_t n_outputs = 0)
      : counts_E(n_outputs), dropped_E(n_outputs), prob_sum_E(n_outputs) {}
  void operator+=(const RouterStats& other);
  bool operator==(const RouterStats&) const = default;
};
using RouterTotals = RouterStats;

/// Rows grouped by expert: row r of expert e, offsets_E1[e] <= r < offsets_E1[e + 1], is row
/// token_R[r] of x_TD. They stay where they are until somebody needs them side by side: experts on
/// this rank gather them on the way into their first product.
struct ExpertRows {
  Var x_TD;
  Tensor token_R, offsets_E1;  // i32; tokens ascend inside an expert
  Var weight_R1;  // not null: combine is the sum of a token's rows times these, experts ascending,
                  // and nothing else, so that the experts may make it on their way out

  Var rows_RD() const { return ops::gather_rows(x_TD, token_R); }
};
using ExpertsFn = std::function<Var(const ExpertRows&)>;

/// How one layer's rows go out and come back. Dies when the layer returns: a backward copies what
/// it needs, never captures this.
class Dispatch {
 public:
  virtual ~Dispatch() = default;
  virtual ExpertRows dispatch(const Var& x_TD) const = 0;
  virtual Var combine(const Var& y_RD, const Var& x_TD) const = 0;  // x: identity and copy experts
};

/// Rows to the experts' owners and back, in one call: on one rank, the identity.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual bool is_identity() const { return true; }
  virtual Var around(const ExpertRows& rows, const ExpertsFn& experts) const {
    return experts(rows);
  }
};

/// No Var is null: aux_loss is a float64 scalar (0 without a loss), router_logits is [T, 0] for a
/// router that has none.
struct Routing {
  std::unique_ptr<const Dispatch> dispatch;
  Var aux_loss, router_logits_TE;
  RouterStats stats;
  Picks picks;    // as selected, before any capacity rule
  Picks kept;     // those that reach an expert, perhaps another one
  Var weight_A1;  // combine weight of each kept pick; null for a router that does not pick
};

class Router {
 public:
  virtual ~Router() = default;
  virtual Routing route(const Var& x_TD, const ForwardContext& ctx) const = 0;
  /// The same from given logits [T, outputs] in place of the router's own, without noise on them.
  /// Throws Error for a router that makes no score of one token and one expert.
  virtual Routing route_logits(const Var& logits_TE, const ForwardContext& ctx) const;
  /// Bias updates and controllers: once per optimiser step, over all micro-batches and ranks.
  virtual void after_step(const RouterTotals& totals) { (void)totals; }
  /// False: a route may depend on later tokens.
  virtual bool causal(bool training) const = 0;
  virtual void visit(const Visitor& v) const = 0;
};

/// A float64 scalar 0 without gradient.
Var zero_loss();

}  // namespace moe
