// SPDX-License-Identifier: MIT
// Switch routing (Fedus et al. 2021, arXiv:2101.03961): the one best expert, weighted by its
// probability, so that the router learns from the task; model.moe.top_k has no meaning. In training
// the router, not the experts, sees x times a draw of U(1 - eps, 1 + eps) (section 2.4).
#include "moe/base/parallel.h"
#include "moe/nn/moe/routers.h"
#include "moe/nn/moe/score_ops.h"
#include "moe/nn/moe/softmax_router.h"
#include "moe/ops/elementwise.h"

namespace moe {
namespace {

class SwitchRouter final : public SoftmaxRouter {
 public:
  SwitchRouter(const MoeConfig& c, int64_t d_model, DType dtype)
      : SoftmaxRouter(c, d_model, 1, dtype), jitter_(c.router_jitter) {}

 private:
  Scores score(const Var& x_TD, const ForwardContext& ctx) const override {
    if (!ctx.training || jitter_ == 0) return SoftmaxRouter::score(x_TD, ctx);
    const RngStream draws = ctx.rng.stream("router.jitter", ctx.layer);
    const std::span<const int64_t> index = ctx.token_index_T.data<int64_t>();
    const int64_t T = x_TD.size(0), D = x_TD.size(1);
    const Tensor factor_TD = Tensor::empty({T, D}, x_TD.dtype());
    with_elements(factor_TD, [&](auto factors) {
      parallel_for(T, 16, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t)
          for (int64_t d = 0; d < D; ++d)
            factors[size_t(t * D + d)] = std::remove_reference_t<decltype(factors[0])>(
                1 + jitter_ * (2 * draws.uniform(index[size_t(t)], d) - 1));
      });
    });
    return SoftmaxRouter::score(ops::multiply(x_TD, Var(factor_TD)), ctx);
  }
  Picks select_experts(const Scores& s, const ForwardContext& ctx) const override {
    return top_k_picks(s.probs_TE.value(), 1, ctx);
  }

  double jitter_;
};

}  // namespace

std::unique_ptr<Router> make_switch_router(const MoeConfig& config, int64_t d_model, DType dtype) {
  return std::make_unique<SwitchRouter>(config, d_model, dtype);
}

}  // namespace moe
