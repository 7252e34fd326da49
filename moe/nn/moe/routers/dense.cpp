// SPDX-License-Identifier: MIT
// Every token takes every expert (Jacobs et al. 1991, Adaptive Mixtures of Local Experts), weighted
// by the softmax over all experts (`dense`) or by the logits as they are (`dense_raw`: a teaching
// example, no published method; weights may be negative and sum to anything). model.moe.top_k has
// no meaning, and the balance loss is always 1, so it is left out.
#include "moe/nn/moe/balance_losses.h"
#include "moe/nn/moe/routers.h"
#include "moe/nn/moe/softmax_router.h"
#include "moe/ops/select.h"

namespace moe {
namespace {

class DenseRouter final : public SoftmaxRouter {
 public:
  DenseRouter(const MoeConfig& c, int64_t d_model, DType dtype, bool raw)
      : SoftmaxRouter(c, d_model, c.n_experts, dtype), raw_(raw) {}

 private:
  Picks select_experts(const Scores& s, const ForwardContext& ctx) const override {
    return top_k_picks(s.probs_TE.value(), n_experts_, ctx);
  }
  Var weigh(const Scores& s, const Picks& picks, int64_t) const override {
    return ops::select_elements(raw_ ? s.logits_TE : s.probs_TE, pick_tokens(picks),
                                pick_experts(picks));
  }
  Var aux_loss(const Scores& s, const Chosen& chosen, const ForwardContext& ctx) const override {
    return z_part(s.logits_TE, z_loss_weight_, chosen.stats, ctx);
  }

  bool raw_;
};

}  // namespace

std::unique_ptr<Router> make_dense_router(const MoeConfig& config, int64_t d_model, DType dtype) {
  return std::make_unique<DenseRouter>(config, d_model, dtype, false);
}
std::unique_ptr<Router> make_dense_raw_router(const MoeConfig& config, int64_t d_model,
                                              DType dtype) {
  return std::make_unique<DenseRouter>(config, d_model, dtype, true);
}

}  // namespace moe
