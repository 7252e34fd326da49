// SPDX-License-Identifier: MIT
// LongCat-Flash routing (arXiv:2509.01322): the softmax runs over E real and Z identity experts,
// the top k of p + b are taken, weights are p times a scale without renormalisation. An identity
// expert returns its input, so easy tokens spend less. The bias of the real experts steers their
// share of the load to top_k E / (E + Z) experts a token; identity experts keep b = 0.
#include <numeric>

#include "moe/nn/moe/routers.h"
#include "moe/nn/moe/softmax_router.h"
#include "moe/ops/elementwise.h"
#include "moe/ops/select.h"

namespace moe {
namespace {

class LongcatRouter final : public SoftmaxRouter {
 public:
  LongcatRouter(const MoeConfig& c, int64_t d_model, DType dtype)
      : SoftmaxRouter(c, d_model, c.top_k, dtype),
        bias_O_(Tensor::zeros({c.n_experts + c.n_identity_experts}, DType::f32)),
        scaling_(c.routed_scaling_factor),
        update_rate_(c.bias_update_rate) {}

  // b_e += mu (wanted share - share of e), wanted share = 1 / (E + Z) of all picks.
  void update(const RouterTotals& totals) override {
    if (totals.n_tokens == 0) return;
    const double picks = double(k_) * double(totals.n_tokens), wanted = 1.0 / double(n_outputs());
    for (int64_t e = 0; e < n_experts_; ++e)
      bias_O_.data<float>()[size_t(e)] +=
          float(update_rate_ * (wanted - double(totals.counts_E[size_t(e)]) / picks));
  }
  void visit_own(const Visitor& v) const override {
    GatedRouter::visit_own(v);
    v.buffer({v.prefix + "gate.e_score_correction_bias", bias_O_});
  }

 private:
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

  Tensor bias_O_;  // float32 always
  double scaling_, update_rate_;
};

}  // namespace

std::unique_ptr<Router> make_longcat_router(const MoeConfig& config, int64_t d_model, DType dtype) {
  return std::make_unique<LongcatRouter>(config, d_model, dtype);
}

}  // namespace moe
