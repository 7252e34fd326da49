// SPDX-License-Identifier: MIT
// LongCat-Flash routing (arXiv:2509.01322): the softmax runs over E real and Z identity experts,
// the top k of p + b are taken, weights are p times a scale without renormalisation. An identity
// expert returns its input, so easy tokens spend less. The bias of the real experts steers their
// share of the load to top_k E / (E + Z) experts a token; identity experts keep b = 0.
#include <numeric>

#include "moe/nn/model_config.h"
#include "moe/nn/moe/assignment_router.h"
#include "moe/nn/moe/balance_losses.h"
#include "moe/nn/moe/routers.h"
#include "moe/ops/elementwise.h"
#include "moe/ops/select.h"
#include "moe/ops/softmax.h"

namespace moe {
namespace {

class LongcatRouter final : public GatedRouter {
 public:
  LongcatRouter(const MoeConfig& c, int64_t d_model, DType dtype)
      : GatedRouter("gate", d_model, c.n_experts, c.top_k, dtype, c.n_identity_experts),
        bias_O_(Tensor::zeros({c.n_experts + c.n_identity_experts}, DType::f32)),
        scaling_(c.routed_scaling_factor),
        update_rate_(c.bias_update_rate),
        aux_loss_weight_(c.aux_loss_weight),
        z_loss_weight_(c.z_loss_weight) {}

  // b_e += mu (wanted share - share of e), wanted share = 1 / (E + Z) of all picks.
  void after_step(const RouterTotals& totals) override {
    if (totals.n_tokens == 0) return;
    const double picks = double(k_) * double(totals.n_tokens), wanted = 1.0 / double(n_outputs());
    for (int64_t e = 0; e < n_experts_; ++e)
      bias_O_.data<float>()[size_t(e)] +=
          float(update_rate_ * (wanted - double(totals.counts_E[size_t(e)]) / picks));
  }
  void visit(const Visitor& v) const override {
    GatedRouter::visit(v);
    v.buffer({v.prefix + "gate.e_score_correction_bias", bias_O_});
  }

 private:
  Scores score(const Var& x_TD, const ForwardContext&) const override {
    const Var logits_TO = gate_(x_TD);
    return {logits_TO, ops::softmax(logits_TO)};
  }
  Picks select_experts(const Scores& s, const ForwardContext& ctx) const override {
    std::vector<int32_t> all(static_cast<size_t>(n_outputs()));
    std::iota(all.begin(), all.end(), 0);
    return token_choice(ctx, [&](int64_t t) {
      return k_best(all, k_, [&](int32_t e) {
        return double(float(score_at(s.probs_TE.value(), t, e)) + bias_O_.data<float>()[size_t(e)]);
      });
    });
  }
  Var weigh(const Scores& s, const Picks& picks, int64_t) const override {
    return ops::scale(ops::select_elements(s.probs_TE, pick_tokens(picks), pick_experts(picks)),
                      scaling_);
  }
  Var aux_loss(const Scores& s, RouterStats& stats, const ForwardContext& ctx) const override {
    const Var balance = ops::scale(switch_loss(s.probs_TE, stats.counts_E, ctx), aux_loss_weight_);
    const Var z = ops::scale(router_z_loss(s.logits_TE, ctx), z_loss_weight_);
    stats.balance_loss = balance.value().data<double>()[0];
    stats.z_loss = z.value().data<double>()[0];
    return ops::add(balance, z);
  }

  Tensor bias_O_;  // float32 always
  double scaling_, update_rate_, aux_loss_weight_, z_loss_weight_;
};

}  // namespace

std::unique_ptr<Router> make_longcat_router(const MoeConfig& config, int64_t d_model, DType dtype) {
  return std::make_unique<LongcatRouter>(config, d_model, dtype);
}

}  // namespace moe
