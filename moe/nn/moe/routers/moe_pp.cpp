// SPDX-License-Identifier: MIT
// MoE++ (Jin et al. 2024, arXiv:2410.07348): beside the experts there are outputs that cost next to
// nothing: constant experts, a_0 x + a_1 v with a = softmax(W_c x) (eq. 5), copies, x, and zero
// experts. Logits are W x plus a map of the previous MoE layer's logits (gating residual, eq. 6).
// Softmax over all outputs, the k best, zero experts' weights set to 0, the others over their sum
// (the released code; it also doubles x before the experts, which is not done here). The balance
// loss weighs outputs without a network with tau < 1, so that easy tokens go there (eq. 7).
#include <algorithm>

#include "moe/nn/moe/balance_losses.h"
#include "moe/nn/moe/routers.h"
#include "moe/nn/moe/softmax_router.h"
#include "moe/ops/elementwise.h"
#include "moe/ops/select.h"
#include "moe/ops/softmax.h"

namespace moe {
namespace {

class MoePlusPlusRouter final : public SoftmaxRouter {
 public:
  MoePlusPlusRouter(const MoeConfig& c, int64_t d_model, DType dtype)
      : SoftmaxRouter(c, d_model, c.top_k, dtype),
        first_zero_(c.n_experts + c.n_constant_experts + c.n_identity_experts),
        tau_(c.zero_computation_weight),
        gate_residual_({"gate_residual"}, {n_outputs()}, n_outputs(), false, dtype) {
    gate_residual_.role = Role::router;
    for (int64_t j = 0; j < n_constant_; ++j) {
      const std::string name = str("constant_experts.", j, ".");
      constants_.push_back({Linear({name + "gate"}, {2}, d_model, false, dtype),
                            Linear({name + "vector"}, {d_model}, 1, false, dtype)});
      constants_.back().gate.adaptable = constants_.back().vector.adaptable = false;
      constants_.back().gate.role = constants_.back().vector.role = Role::router;
    }
  }
  void visit_own(const Visitor& v) const override {
    GatedRouter::visit_own(v);
    gate_residual_.visit(v);
    for (const Constant& c : constants_) {
      c.gate.visit(v);
      c.vector.visit(v);
    }
  }

 private:
  struct Constant {
    Linear gate, vector;  // [2, D], [D, 1]
  };

  Scores score(const Var& x_TD, const ForwardContext& ctx) const override {
    Var logits_TE = gate_(x_TD, ctx);
    if (ctx.previous_router_logits_TE)
      logits_TE = ops::add(logits_TE, gate_residual_(ctx.previous_router_logits_TE, ctx));
    return score_logits(disturbed(logits_TE, ctx));
  }
  Picks select_experts(const Scores& s, const ForwardContext& ctx) const override {
    return top_k_picks(s.probs_TE.value(), k_, ctx);
  }
  Var weigh(const Scores& s, const Picks& picks, int64_t n_tokens) const override {
    const Tensor token_A = pick_tokens(picks);
    std::vector<double> counts;
    for (const Pick& p : picks) counts.push_back(p.expert < first_zero_ ? 1 : 0);
    const Tensor mask_A1 =
        Tensor::from<double>({int64_t(picks.size()), 1}, counts).to(s.probs_TE.dtype());
    const Var p_A1 =
        ops::multiply(ops::select_elements(s.probs_TE, token_A, pick_experts(picks)), Var(mask_A1));
    return ops::normalize_per_token(p_A1, token_A, n_tokens);
  }
  Var aux_loss(const Scores& s, const Chosen& chosen, const ForwardContext& ctx) const override {
    double total = 0;
    for (const int64_t n : chosen.stats.counts_E) total += double(n);
    std::vector<double> f_O(size_t(n_outputs()), 0);
    for (size_t e = 0; e < f_O.size() && total > 0; ++e)
      f_O[e] = double(n_outputs()) * (int64_t(e) < n_experts_ ? 1 : tau_) *
               double(chosen.stats.counts_E[e]) / total;
    const Var balance =
        balance_part(weighted_column_means(s.probs_TE, f_O, ctx), aux_loss_weight_, chosen.stats);
    return ops::add(balance, z_part(s.logits_TE, z_loss_weight_, chosen.stats, ctx));
  }
  Var constant_rows(const Var& x_RD, int64_t j) const override {
    const Constant& c = constants_[size_t(j)];
    const int64_t R = x_RD.size(0);
    const Var a_R2 = ops::softmax(ops::linear(x_RD, c.gate.weight));
    const auto column = [&](int32_t which) {
      const Tensor rows = Tensor::empty({R}, DType::i32), columns = Tensor::empty({R}, DType::i32);
      for (int64_t r = 0; r < R; ++r) rows.data<int32_t>()[size_t(r)] = int32_t(r);
      std::ranges::fill(columns.data<int32_t>(), which);
      return ops::select_elements(a_R2, rows, columns);
    };
    return ops::add(ops::scale_rows(x_RD, column(0)), ops::linear(column(1), c.vector.weight));
  }

  int64_t first_zero_;
  double tau_;
  Linear gate_residual_;  // [O, O]; the first MoE layer does not use it
  std::vector<Constant> constants_;
};

}  // namespace

std::unique_ptr<Router> make_moe_pp_router(const MoeConfig& config, int64_t d_model, DType dtype) {
  return std::make_unique<MoePlusPlusRouter>(config, d_model, dtype);
}

}  // namespace moe
