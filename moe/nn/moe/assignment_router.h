// SPDX-License-Identifier: MIT
// Base of every router whose routes are (token, expert, weight) picks: a new one writes score,
// select_experts and, if it must, weigh and aux_loss. Replay, capacity, padding and statistics
// live here, once.
#pragma once

#include "moe/nn/linear.h"
#include "moe/nn/moe/capacity.h"
#include "moe/nn/moe/router.h"

namespace moe {

/// Outputs [0, n_experts) are real experts, then constant experts, then identity experts, which
/// return their input, then zero experts.
class AssignmentRouter : public Router {
 public:
  Routing route(const Var& x_TD, const ForwardContext& ctx) const final;
  Routing route_logits(const Var& logits_TE, const ForwardContext& ctx) const final;
  bool causal(bool training) const final {
    return selects_causally(training) && capacity_.is_causal(training);
  }
  void after_step(const RouterTotals& totals) final {
    update(totals);
    capacity_.after_step(totals);
  }
  void visit(const Visitor& v) const final {
    visit_own(v);
    capacity_.visit(v);
  }

 protected:
  struct Scores {
    Var logits_TE;                           // [T, 0] if there are none
    Var probs_TE;                            // scores in combine weights: softmax, sigmoid ...
    Var noisy_TE = {}, noise_scale_TE = {};  // noisy_top_k: what is compared, and its deviation
  };
  /// What was chosen; its stats are counted.
  struct Chosen {
    const Picks& picks;
    const Var& weight_A1;
    RouterStats& stats;  // aux_loss fills balance_loss and z_loss
  };
  explicit AssignmentRouter(const MoeConfig& config)
      : n_experts_(config.n_experts),
        n_identity_(config.n_identity_experts),
        n_constant_(config.router == "moe_pp" ? config.n_constant_experts : 0),
        n_outputs_(router_outputs(config)),
        capacity_(config),
        expert_dropout_(config.expert_dropout),
        router_noise_(config.router_noise),
        uniform_start_steps_(config.uniform_start_steps),
        router_warmup_steps_(config.router_warmup_steps),
        picks_per_token_(experts_per_token(config)) {}
  int64_t n_outputs() const { return n_outputs_; }

  virtual Scores score(const Var& x_TD, const ForwardContext& ctx) const = 0;
  virtual Scores score_logits(const Var& logits_TE) const = 0;
  /// Valid tokens only, any order.
  virtual Picks select_experts(const Scores& scores, const ForwardContext& ctx) const = 0;
  /// One weight per pick, [A, 1]; default: the pick's score.
  virtual Var weigh(const Scores& scores, const Picks& picks, int64_t n_tokens) const;
  /// Weighted auxiliary loss, a float64 scalar.
  virtual Var aux_loss(const Scores& scores, const Chosen& chosen, const ForwardContext& ctx) const;
  virtual bool selects_causally(bool /*training*/) const { return true; }
  /// In training: warm-up of the logits, noise on them, experts closed for the step. Every router
  /// that makes logits passes them through here.
  Var disturbed(const Var& logits_TE, const ForwardContext& ctx) const;
  /// Biases and controllers, after each optimiser step.
  virtual void update(const RouterTotals& totals) { (void)totals; }
  virtual void visit_own(const Visitor& v) const = 0;

  /// What constant expert j makes of rows x.
  virtual Var constant_rows(const Var& x_RD, int64_t /*j*/) const { return x_RD; }

  int64_t n_experts_, n_identity_, n_constant_, n_outputs_;

 private:
  Picks uniform_picks(const ForwardContext& ctx) const;

  Capacity capacity_;
  double expert_dropout_, router_noise_;
  int64_t uniform_start_steps_, router_warmup_steps_, picks_per_token_;
  Routing route_scores(const Scores& scores, const ForwardContext& ctx) const;
  /// Takes the picks without room out of `picks` and counts them; the weights of the others.
  Var keep_what_fits(const Scores& scores, Picks& picks, const Var& weight_A1, RouterStats& stats,
                     const ForwardContext& ctx) const;
};

/// One linear map from the token to a score per output.
class GatedRouter : public AssignmentRouter {
 protected:
  GatedRouter(const MoeConfig& config, const std::string& weight_name, int64_t d_model, int64_t k,
              DType dtype);
  void visit_own(const Visitor& v) const override { gate_.visit(v); }
  Scores score(const Var& x_TD, const ForwardContext& ctx) const override {
    return score_logits(disturbed(gate_(x_TD, ctx), ctx));
  }

  Linear gate_;  // [n_outputs, D]
  int64_t k_;
};

// ---- Helpers for select_experts and weigh
// -----------------------------------------------------------------------------------------------------
/// Score (t, e) of a [T, E] tensor of float32 or float64, as double (exact).
double score_at(const Tensor& scores_TE, int64_t t, int64_t e);
/// The k best of the candidates by falling score; ties: lower index; NaN last.
std::vector<int32_t> k_best(std::vector<int32_t> candidates, int64_t k,
                            const std::function<double(int32_t)>& score);
/// Calls experts_of(t) for every valid token; the order of its answer gives the choice numbers.
Picks token_choice(const ForwardContext& ctx,
                   const std::function<std::vector<int32_t>(int64_t t)>& experts_of);
/// The k columns with the largest value in each valid row.
Picks top_k_picks(const Tensor& scores_TE, int64_t k, const ForwardContext& ctx);
/// Tokens and experts of picks as i32 tensors.
Tensor pick_tokens(const Picks& picks);
Tensor pick_experts(const Picks& picks);

}  // namespace moe
