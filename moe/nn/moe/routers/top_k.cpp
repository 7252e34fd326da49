// SPDX-License-Identifier: MIT
// Top-k softmax routing (Shazeer et al. 2017, arXiv:1701.06538; Switch for k = 1,
// arXiv:2101.03961). Three functions:
//   softmax over all experts, k largest, as they are          (OLMoE, DeepSeek-V2)       softmax:
//   before_topk, norm_topk_prob: false the same, divided by their sum (Mixtral, Qwen3-MoE) softmax:
//   before_topk, norm_topk_prob: true softmax over the k largest logits (gpt-oss, GraniteMoE)
//   softmax: after_topk
// The last two are one function up to rounding. Selection compares probabilities, or logits in the
// last form.
#include "moe/nn/moe/routers.h"
#include "moe/nn/moe/softmax_router.h"
#include "moe/ops/select.h"

namespace moe {
namespace {

class TopKRouter final : public SoftmaxRouter {
 public:
  TopKRouter(const MoeConfig& c, int64_t d_model, DType dtype)
      : SoftmaxRouter(c, d_model, c.top_k, dtype),
        after_topk_(c.softmax == "after_topk"),
        normalize_(c.norm_topk_prob) {}

 private:
  Picks select_experts(const Scores& s, const ForwardContext& ctx) const override {
    return top_k_picks((after_topk_ ? s.logits_TE : s.probs_TE).value(), k_, ctx);
  }
  Var weigh(const Scores& s, const Picks& picks, int64_t n_tokens) const override {
    const Tensor token_A = pick_tokens(picks), expert_A = pick_experts(picks);
    if (after_topk_)
      return ops::softmax_per_token(ops::select_elements(s.logits_TE, token_A, expert_A), token_A,
                                    n_tokens);
    const Var w_A1 = ops::select_elements(s.probs_TE, token_A, expert_A);
    return normalize_ ? ops::normalize_per_token(w_A1, token_A, n_tokens) : w_A1;
  }

  bool after_topk_, normalize_;
};

}  // namespace

std::unique_ptr<Router> make_top_k_router(const MoeConfig& config, int64_t d_model, DType dtype) {
  return std::make_unique<TopKRouter>(config, d_model, dtype);
}

}  // namespace moe
