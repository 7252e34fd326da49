// SPDX-License-Identifier: MIT
#include "moe/nn/attention.h"

#include <algorithm>
#include <cmath>

#include "moe/ops/attention.h"
#include "moe/ops/norm.h"
#include "moe/ops/rope.h"

namespace moe {

Attention::Attention(const ModelConfig& c, const LayerConfig& layer, const SharedPositions& shared,
                     DType dtype)
    : H(c.n_heads),
      G(c.n_kv_heads),
      A(c.head_dim),
      window(layer.window),
      scale(1.0 / std::sqrt(double(c.head_dim))),
      softcap(c.attention_softcap),
      norm_eps(c.norm_eps),
      rotary(c.position == "rope"),
      norm_per_row(c.qk_norm == "per_row"),
      qkv_proj({"q_proj", "k_proj", "v_proj"}, {H * A, G * A, G * A}, c.d_model,
               c.bias || c.qkv_bias, dtype),
      o_proj({"o_proj"}, {c.d_model}, H * A, c.bias || c.o_bias, dtype),
      rope(shared.rope),
      alibi_slopes_H(shared.alibi_slopes_H),
      t5_bucket_of_distance(shared.t5_bucket_of_distance) {
  o_proj.residual_output = true;
  auto vector = [&](Shape shape) { return Var(Tensor::zeros(shape, dtype), true); };
  if (c.qk_norm != "false") {
    q_norm = vector({norm_per_row ? H * A : A});
    k_norm = vector({norm_per_row ? G * A : A});
  }
  if (c.attention_sink) sink_H = vector({H});
  if (shared.t5_table_UH) t5_table_UH = shared.t5_table_UH.alias();
  if (c.position == "shaw") {
    shaw_k_CA = vector({2 * c.relative_max_distance + 1, A});
    shaw_v_CA = vector({2 * c.relative_max_distance + 1, A});
  }
}

Var Attention::operator()(const Var& x_TD, const ForwardContext& ctx) const {
  Var qkv = qkv_proj(x_TD, ctx);
  if (q_norm)
    qkv = ops::rms_norm_columns(
        qkv,
        {{.begin = 0, .count = H * A, .groups = norm_per_row ? 1 : H, .w = q_norm},
         {.begin = H * A, .count = G * A, .groups = norm_per_row ? 1 : G, .w = k_norm}},
        norm_eps);
  if (rotary) {
    const std::span<const int32_t> positions = ctx.positions_T.data<int32_t>();
    const int64_t n =
        positions.empty() ? 0 : 1 + *std::max_element(positions.begin(), positions.end());
    qkv = ops::rope(qkv, {.cos_PR = rope.cos_PR.rows(n),
                          .sin_PR = rope.sin_PR.rows(n),
                          .positions_T = ctx.positions_T,
                          .heads = H + G,
                          .head_dim = A,
                          .rotary_dim = A,
                          .in_place = true});
  }
  ops::AttentionArgs args{.spans = {},
                          .H = H,
                          .G = G,
                          .A = A,
                          .Av = A,
                          .scale = scale,
                          .window = window,
                          .softcap = softcap,
                          .sink_H = sink_H,
                          .t5_table_UH = t5_table_UH,
                          .shaw_k_CA = shaw_k_CA,
                          .shaw_v_CA = shaw_v_CA,
                          .alibi_slopes_H = alibi_slopes_H,
                          .t5_bucket_of_distance = t5_bucket_of_distance,
                          .precision = {.type = ctx.compute_dtype}};
  const std::span<const int32_t> starts = ctx.sequence_starts_B1.data<int32_t>();
  for (size_t b = 0; b + 1 < starts.size(); ++b) {
    const int64_t row = starts[b], n = starts[b + 1] - row;
    if (n == 0) continue;
    args.spans.push_back({.row = row,
                          .n = n,
                          .position = ctx.positions_T.data<int32_t>()[size_t(row)],
                          .kv = ctx.kv ? ctx.kv->of_layer[size_t(ctx.layer)][b] : KvBlocks{}});
  }
  return o_proj(ops::attention(qkv, std::move(args)), ctx);
}

void Attention::visit(const Visitor& v) const {
  qkv_proj.visit(v);
  o_proj.visit(v);
  if (q_norm) {
    visit_vector(v, "q_norm.weight", q_norm, Role::norm);
    visit_vector(v, "k_norm.weight", k_norm, Role::norm);
  }
  if (sink_H) visit_vector(v, "sinks", sink_H, Role::scale);
  if (shaw_k_CA) {
    visit_vector(v, "relative_k.weight", shaw_k_CA, Role::scale);
    visit_vector(v, "relative_v.weight", shaw_v_CA, Role::scale);
  }
}

}  // namespace moe
