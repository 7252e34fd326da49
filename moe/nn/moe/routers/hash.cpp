// SPDX-License-Identifier: MIT
// Routing without a learned router. `hash_balanced`: of any E consecutive ids each expert is the
// first choice of exactly one (a random order of the experts for each block of E ids; the next
// choices are the next in that order), so that experts own equal parts of the vocabulary, and of
// its frequent part where ids are ranked by frequency, as those of BPE nearly are. `hash` (Roller
// et al. 2021, arXiv:2106.04426): a token's experts are a fixed random function of its id, another
// one in each layer. `random`: of its id and its position; a baseline that any learned router
// should beat. Weights are 1 / k; no gradient, no loss. Both depend on no other token, batch or
// run, so that generation takes the routes of training.
#include <numeric>

#include "moe/nn/model_config.h"
#include "moe/nn/moe/assignment_router.h"
#include "moe/nn/moe/routers.h"

namespace moe {
namespace {

class FixedRouter final : public AssignmentRouter {
 public:
  enum class By { id, balanced_id, id_and_position };
  FixedRouter(const MoeConfig& c, By by) : AssignmentRouter(c), k_(c.top_k), by_(by) {}
  void visit_own(const Visitor&) const override {}

 private:
  Scores score(const Var& x_TD, const ForwardContext&) const override { return score_logits(x_TD); }
  Scores score_logits(const Var& x_TD) const override {
    const int64_t T = x_TD.size(0);
    const Tensor share_TE = Tensor::empty({T, n_experts_}, x_TD.dtype());
    if (x_TD.dtype() == DType::f64)
      for (double& v : share_TE.data<double>()) v = 1.0 / double(k_);
    else
      for (float& v : share_TE.data<float>()) v = 1.0f / float(k_);
    return {Var(Tensor::empty({T, 0}, x_TD.dtype())), Var(share_TE)};
  }
  Picks select_experts(const Scores&, const ForwardContext& ctx) const override {
    const RngStream draws(0, 0,
                          by_ == By::id                ? "router.hash"
                          : by_ == By::id_and_position ? "router.random"
                                                       : "router.hash_balanced",
                          ctx.layer);
    const std::span<const int32_t> ids = ctx.token_ids_T.data<int32_t>(),
                                   positions = ctx.positions_T.data<int32_t>();
    std::vector<int32_t> all(static_cast<size_t>(n_experts_));
    std::iota(all.begin(), all.end(), 0);
    if (by_ == By::balanced_id)
      return token_choice(ctx, [&](int64_t t) {
        const int64_t id = ids[size_t(t)], block = id / n_experts_;
        const std::vector<int32_t> order =
            k_best(all, n_experts_, [&](int32_t e) { return draws.uniform(block, e); });
        std::vector<int32_t> experts;
        for (int64_t j = 0; j < k_; ++j) experts.push_back(order[size_t((id + j) % n_experts_)]);
        return experts;
      });
    return token_choice(ctx, [&](int64_t t) {
      const int64_t position = by_ == By::id_and_position ? positions[size_t(t)] : 0;
      return k_best(all, k_, [&](int32_t e) {
        return draws.uniform(ids[size_t(t)], position * n_experts_ + e);
      });
    });
  }

  int64_t k_;
  By by_;
};

}  // namespace

std::unique_ptr<Router> make_hash_router(const MoeConfig& config, int64_t, DType) {
  return std::make_unique<FixedRouter>(config, FixedRouter::By::id);
}
std::unique_ptr<Router> make_hash_balanced_router(const MoeConfig& config, int64_t, DType) {
  return std::make_unique<FixedRouter>(config, FixedRouter::By::balanced_id);
}
std::unique_ptr<Router> make_random_router(const MoeConfig& config, int64_t, DType) {
  return std::make_unique<FixedRouter>(config, FixedRouter::By::id_and_position);
}

}  // namespace moe
