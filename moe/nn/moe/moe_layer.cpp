// SPDX-License-Identifier: MIT
#include "moe/nn/moe/moe_layer.h"

#include "moe/nn/moe/routers.h"
#include "moe/ops/activation.h"
#include "moe/ops/elementwise.h"
#include "moe/ops/norm.h"

namespace moe {

namespace {

constexpr double kOutputEps = 1e-6;

MoeConfig with_capacity_tokens(const ModelConfig& c) {
  MoeConfig m = c.moe;
  if (m.capacity_tokens == 0) m.capacity_tokens = c.max_seq_len;
  return m;
}

}  // namespace

MoeLayer::MoeLayer(const ModelConfig& c, DType dtype)
    : router(make_router(with_capacity_tokens(c), c.d_model, dtype)),
      experts(expert_shape(c), c.d_model, dtype, c.moe.n_experts) {
  if (c.moe.n_shared_experts > 0) shared = FeedForward(shared_expert_shape(c), c.d_model, dtype);
  if (c.moe.normalize_expert_outputs) {
    const std::vector<double> ones(size_t(c.d_model), 1);
    ones_D = Var(Tensor::from<double>({c.d_model}, ones).to(dtype));
  }
  if (c.moe.shared_gate) shared_gate = Linear({"shared_expert_gate"}, {1}, c.d_model, false, dtype);
}

MoeOutput MoeLayer::operator()(const Var& x_TD, const ForwardContext& ctx) const {
  Routing routing = router->route(x_TD, ctx.unrounded());
  const ExpertRows rows = routing.dispatch->dispatch(x_TD);
  Var y_TD;
  if (rows.weight_R1 && exchange->is_identity() && experts.sums_rows(ctx) && !ones_D) {
    y_TD = experts.weighted_sum(x_TD, rows.offsets_E1, rows.token_R, rows.weight_R1, ctx);
  } else {
    const Var y_RD = exchange->around(rows, [&](const ExpertRows& r) {
      const Var out = experts(r.x_TD, r.offsets_E1, r.token_R, ctx);
      return ones_D ? ops::rms_norm(out, ones_D, kOutputEps) : out;
    });
    y_TD = routing.dispatch->combine(y_RD, x_TD);
  }
  if (shared.d_ff > 0) {
    Var s_TD = shared(x_TD, ctx);
    if (shared_gate.weight)
      s_TD = ops::scale_rows(s_TD, ops::activation(shared_gate(x_TD, ctx), Activation::sigmoid));
    y_TD = ops::add(y_TD, s_TD);
  }
  return {std::move(y_TD), std::move(routing.aux_loss), std::move(routing.router_logits_TE),
          std::move(routing.stats), std::move(routing.picks)};
}

void MoeLayer::visit(const Visitor& v) const {
  router->visit(v);
  experts.visit(v);
  if (shared.d_ff > 0) shared.visit(v.at("shared_expert"));
  if (shared_gate.weight) shared_gate.visit(v);
}

}  // namespace moe
