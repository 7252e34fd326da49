// SPDX-License-Identifier: MIT
// Routing without a learned router. `hash` (Roller et al. 2021, arXiv:2106.04426): a token's
// experts are a fixed random function of its id, another one in each layer. `random`: of its id and
// its position; a baseline that any learned router should beat. Weights are 1 / k; no gradient, no
// loss. Both depend on no other token, batch or run, so that generation takes the routes of
// training.
#include <numeric>

#include "moe/nn/model_config.h"
#include "moe/nn/moe/assignment_router.h"
#include "moe/nn/moe/routers.h"

namespace moe {
namespace {

class FixedRouter final : public AssignmentRouter {
 public:
  FixedRouter(const MoeConfig& c, bool by_position)
      : AssignmentRouter(c.n_experts), k_(c.top_k), by_position_(by_position) {}
  void visit(const Visitor&) const override {}

 private:
  Scores score(const Var& x_TD, const ForwardContext&) const override {
    const int64_t T = x_TD.size(0);
    const Tensor share_TE = Tensor::empty({T, n_experts_}, x_TD.dtype());
    if (x_TD.dtype() == DType::f64)
      for (double& v : share_TE.data<double>()) v = 1.0 / double(k_);
    else
      for (float& v : share_TE.data<float>()) v = 1.0f / float(k_);
    return {Var(Tensor::empty({T, 0}, x_TD.dtype())), Var(share_TE)};
  }
  Picks select_experts(const Scores&, const ForwardContext& ctx) const override {
    const RngStream draws(0, 0, by_position_ ? "router.random" : "router.hash", ctx.layer);
    const std::span<const int32_t> ids = ctx.token_ids_T.data<int32_t>(),
                                   positions = ctx.positions_T.data<int32_t>();
    std::vector<int32_t> all(static_cast<size_t>(n_experts_));
    std::iota(all.begin(), all.end(), 0);
    return token_choice(ctx, [&](int64_t t) {
      const int64_t position = by_position_ ? positions[size_t(t)] : 0;
      return k_best(all, k_, [&](int32_t e) {
        return draws.uniform(ids[size_t(t)], position * n_experts_ + e);
      });
    });
  }

  int64_t k_;
  bool by_position_;
};

}  // namespace

std::unique_ptr<Router> make_hash_router(const MoeConfig& config, int64_t, DType) {
  return std::make_unique<FixedRouter>(config, false);
}
std::unique_ptr<Router> make_random_router(const MoeConfig& config, int64_t, DType) {
  return std::make_unique<FixedRouter>(config, true);
}

}  // namespace moe
