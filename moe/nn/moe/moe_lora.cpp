// SPDX-License-Identifier: MIT
#include "moe/nn/moe/moe_lora.h"

#include "moe/nn/moe/routers.h"
#include "moe/ops/elementwise.h"

namespace moe {
namespace {

const LoraPart& experts_on(const Linear& linear, const ForwardContext& ctx) {
  for (const LoraPart& part : *linear.lora)
    if (part.mixture && part.adapter == ctx.adapter) return part;
  throw Error(
      str("[moe_lora] ", linear.stored_name, " holds no LoRA experts of adapter ", ctx.adapter));
}

Var change(const Linear& linear, const Var& x_RI, const ExpertRows& rows,
           const ForwardContext& ctx) {
  return lora_delta(experts_on(linear, ctx), linear.weight, linear.sizes, x_RI, rows.offsets_E1,
                    rows.token_R, linear.stored_name, ctx);
}

}  // namespace

std::unique_ptr<Router> make_mixture_router(const MoeLoraConfig& c, int64_t d_model, DType dtype) {
  if (c.top_k > c.n_experts)
    throw Error(
        str("[config] lora.moe_lora.top_k is ", c.top_k, ", but lora.moe_lora.n_experts is ",
            c.n_experts, "; a token takes at most all experts"),
        ExitCode::usage);
  MoeConfig moe;
  moe.n_experts = c.n_experts;
  moe.top_k = c.top_k;
  moe.aux_loss_weight = c.aux_loss_weight;
  moe.z_loss_weight = 0;
  return make_router(moe, d_model, dtype);
}

const Router* active_router(const std::shared_ptr<MixtureRouters>& routers,
                            const ForwardContext& ctx) {
  if (ctx.adapter < 0) return nullptr;
  for (const MixtureRouter& r : *routers)
    if (r.adapter == ctx.adapter) return r.router.get();
  return nullptr;
}

MoeOutput moe_lora(const FeedForward& dense, const Router& router, const Var& x_TD,
                   const ForwardContext& ctx) {
  const ops::Precision precision = {.type = ctx.compute_dtype};
  Routing routing = router.route(x_TD, ctx.unrounded());
  const ExpertRows rows = routing.dispatch->dispatch(x_TD);
  const auto down = [&](const Var& h) {
    return ops::linear(h, dense.down.weight, dense.down.bias, precision);
  };
  const Var up_TF = ops::linear(x_TD, dense.up.weight, dense.up.bias, precision);
  const Var base_TD = down(dense.activated(up_TF));
  const Var up_RF =
      ops::add(ops::gather_rows(up_TF, rows.token_R), change(dense.up, rows.rows_RD(), rows, ctx));
  const Var h_RF = dense.activated(up_RF);
  const Var y_RD = ops::add(down(h_RF), change(dense.down, h_RF, rows, ctx));
  const Var change_RD = ops::add(y_RD, ops::scale(ops::gather_rows(base_TD, rows.token_R), -1));
  return {ops::add(base_TD, routing.dispatch->combine(change_RD, x_TD)),
          std::move(routing.aux_loss), std::move(routing.router_logits_TE),
          std::move(routing.stats), std::move(routing.picks)};
}

}  // namespace moe
