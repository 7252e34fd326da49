// SPDX-License-Identifier: MIT
#include "moe/ops/feed_forward.h"

#include "moe/ops/linear.h"

namespace moe::ops {
namespace {

// A matrix whose rows may be longer in memory than they are.
struct PaddedRows {
  Tensor storage;
  int64_t cols;
  PaddedRows(int64_t rows, int64_t columns, DType dtype)
      : storage(Tensor::empty({rows, padded_columns(columns)}, dtype)), cols(columns) {}
  MatView view() const { return storage.view().columns(0, cols); }
};

void check_up(const FeedForwardWeights& w) {
  const PanelMap up_map = w.up.value().panel_map();
  MOE_CHECK(up_map.gate_up == w.gated && up_map.half() == w.d_ff, "[feed_forward] the weight ",
            w.up.shape().text(), " is no ", w.gated ? "gate and up" : "up", " projection to ",
            w.d_ff);
}

void check_tokens(const Tensor& token_R, const Tensor& offsets_E1, int64_t n_tokens) {
  const std::span<const int32_t> token = token_R.data<int32_t>(),
                                 offset = offsets_E1.data<int32_t>();
  for (size_t e = 0; e + 1 < offset.size(); ++e)
    for (int32_t r = offset[e]; r < offset[e + 1] && size_t(r) < token.size(); ++r) {
      const int32_t t = token[size_t(r)];
      MOE_CHECK(t >= 0 && t < n_tokens, "[feed_forward] row ", t, " of ", n_tokens);
      MOE_CHECK(r == offset[e] || token[size_t(r) - 1] <= t, "[feed_forward] row ", r,
                " takes token ", t, " after token ", token[size_t(r) - 1], " of the same expert");
    }
}

MatView view_or_none(const Var& v) { return v ? v.view() : MatView{}; }

// Both ops in two bytes a number. weight: of the rows of a sum; null: the rows are returned.
Var narrow_feed_forward(const Var& x, const Tensor& offsets_E1, const Tensor& token_R,
                        const Var& weight, const FeedForwardWeights& w) {
  const DType type = w.precision.type;
  const Kernels& k = kernels(DType::f32);
  const int64_t R = token_R ? token_R.numel() : x.size(0),
                D = w.down.value().panel_map().out_cols();
  const Narrow x16(x.value(), type);
  const PaddedRows up(R, w.up.value().panel_map().out_cols(), DType::f32);
  grouped_linear_fwd(k, up.view(), x16.wide().view(), Var(rounded(w.up.value(), type)), w.up_bias,
                     offsets_E1, {.x = token_R});
  const Narrow up16(up.storage, type);
  round_numbers(up.view(), type);
  const PaddedRows h_RF(R, w.d_ff, DType::f32);
  (w.gated ? k.gated_act_fwd : k.act_fwd)(h_RF.view(), up.view(), w.kind);
  round_numbers(h_RF.view(), type);
  const Tensor y =
      weight ? Tensor::zeros({x.size(0), D}, DType::f32) : Tensor::empty({R, D}, DType::f32);
  const ProductRows sum =
      weight ? ProductRows{.y = token_R, .weight_R1 = weight.value()} : ProductRows{};
  grouped_linear_fwd(k, y.view(), h_RF.view(), Var(rounded(w.down.value(), type)), w.down_bias,
                     offsets_E1, sum);
  if (!weight) round_numbers(y.view(), type);
  return record(
      "feed_forward", y, {x, w.up, w.up_bias, w.down, w.down_bias, weight},
      [=, cols = up.cols, dx_place = x.grad_place()](const Tensor& d) {
        const Kernels& kb = kernels(DType::f32);
        const Tensor dy = rounded(d, type), up_storage = up16.wide();
        const ProductRows by_token = {.y = weight ? token_R : Tensor()};
        const PaddedRows dh(R, w.d_ff, DType::f32);
        grouped_linear_bwd_input(kb, dh.view(), false, dy.view(),
                                 Var(rounded(w.down.value(), type)), offsets_E1, by_token);
        round_numbers(dh.view(), type);
        const MatView dup = up_storage.view().columns(0, cols), h = dh.view();
        (w.gated ? kb.gated_act_bwd_and_fwd : kb.act_bwd_and_fwd)(
            dup, h, w.kind, view_or_none(weight),
            wants_grad(weight) ? weight.grad().view() : MatView{});
        round_numbers(dup, type);
        round_numbers(h, type);
        grouped_linear_bwd_weights(kb, dy.view(), h, w.down, w.down_bias, offsets_E1, by_token);
        grouped_linear_bwd_weights(kb, dup, x16.wide().view(), w.up, w.up_bias, offsets_E1,
                                   {.x = token_R});
        if (!dx_place->needs_grad()) return;
        const Tensor dx = dx_place->empty();
        if (token_R) dx.fill_zero();
        grouped_linear_bwd_input(kb, dx.view(), bool(token_R), dup,
                                 Var(rounded(w.up.value(), type)), offsets_E1, {.x = token_R});
        round_numbers(dx.view(), type);
        add_gradient(*dx_place, dx);
      });
}

}  // namespace

int64_t padded_columns(int64_t columns) { return columns % 128 == 0 ? columns + 16 : columns; }

Var feed_forward(const Var& x, const Tensor& offsets_E1, const Tensor& token_R,
                 const FeedForwardWeights& w) {
  check_up(w);
  if (token_R) check_tokens(token_R, offsets_E1, x.size(0));
  if (w.precision.is_narrow()) return narrow_feed_forward(x, offsets_E1, token_R, {}, w);
  const PanelMap up_map = w.up.value().panel_map();
  const int64_t R = token_R ? token_R.numel() : x.size(0);
  const DType dtype = x.dtype();
  const Kernels& k = kernels(dtype);
  const PaddedRows up(R, up_map.out_cols(), dtype), h_RF(R, w.d_ff, dtype);
  Tensor y_RD = Tensor::empty({R, w.down.value().panel_map().out_cols()}, dtype);
  grouped_linear_fwd(k, up.view(), x.value().view(), w.up, w.up_bias, offsets_E1, {.x = token_R});
  (w.gated ? k.gated_act_fwd : k.act_fwd)(h_RF.view(), up.view(), w.kind);
  grouped_linear_fwd(k, y_RD.view(), h_RF.view(), w.down, w.down_bias, offsets_E1);
  return record(
      "feed_forward", y_RD, {x, w.up, w.up_bias, w.down, w.down_bias}, [=](const Tensor& dy) {
        const Kernels& kb = kernels(dy.dtype());
        const PaddedRows dh(R, w.d_ff, dy.dtype());
        grouped_linear_bwd_input(kb, dh.view(), false, dy.view(), w.down, offsets_E1);
        (w.gated ? kb.gated_act_bwd_and_fwd : kb.act_bwd_and_fwd)(up.view(), dh.view(), w.kind, {},
                                                                  {});
        const MatView dup = up.view(), h = dh.view();  // in place: this record is the only owner
        grouped_linear_bwd_weights(kb, dy.view(), h, w.down, w.down_bias, offsets_E1);
        grouped_linear_bwd_weights(kb, dup, x.value().view(), w.up, w.up_bias, offsets_E1,
                                   {.x = token_R});
        if (!wants_grad(x)) return;
        if (!token_R) {
          const auto [dx, accumulate] = x.grad_target();
          return grouped_linear_bwd_input(kb, dx.view(), accumulate, dup, w.up, offsets_E1);
        }
        grouped_linear_bwd_input(kb, x.grad().view(), true, dup, w.up, offsets_E1, {.x = token_R});
      });
}

Var weighted_feed_forward(const Var& x, const Tensor& offsets_E1, const Tensor& token_R,
                          const Var& weight, const FeedForwardWeights& w) {
  check_up(w);
  check_tokens(token_R, offsets_E1, x.size(0));
  const int64_t R = token_R.numel();
  MOE_CHECK(!w.down_bias && weight.value().numel() == R, "[weighted_feed_forward] ",
            weight.value().numel(), " weights for ", R, " rows, ",
            w.down_bias ? "and a bias of the down projection" : "");
  if (w.precision.is_narrow()) return narrow_feed_forward(x, offsets_E1, token_R, weight, w);
  const DType dtype = x.dtype();
  const Kernels& k = kernels(dtype);
  const PaddedRows up(R, w.up.value().panel_map().out_cols(), dtype), h_RF(R, w.d_ff, dtype);
  const Tensor y_TD = Tensor::zeros({x.size(0), w.down.value().panel_map().out_cols()}, dtype);
  grouped_linear_fwd(k, up.view(), x.value().view(), w.up, w.up_bias, offsets_E1, {.x = token_R});
  (w.gated ? k.gated_act_fwd : k.act_fwd)(h_RF.view(), up.view(), w.kind);
  grouped_linear_fwd(k, y_TD.view(), h_RF.view(), w.down, {}, offsets_E1,
                     {.y = token_R, .weight_R1 = weight.value()});
  return record(
      "weighted_feed_forward", y_TD, {x, w.up, w.up_bias, w.down, weight}, [=](const Tensor& dy) {
        const Kernels& kb = kernels(dy.dtype());
        const PaddedRows dh(R, w.d_ff, dy.dtype());
        grouped_linear_bwd_input(kb, dh.view(), false, dy.view(), w.down, offsets_E1,
                                 {.y = token_R});
        (w.gated ? kb.gated_act_bwd_and_fwd : kb.act_bwd_and_fwd)(
            up.view(), dh.view(), w.kind, weight.value().view(),
            wants_grad(weight) ? weight.grad().view() : MatView{});
        const MatView dup = up.view(), h = dh.view();  // in place: this record is the only owner
        grouped_linear_bwd_weights(kb, dy.view(), h, w.down, {}, offsets_E1, {.y = token_R});
        grouped_linear_bwd_weights(kb, dup, x.value().view(), w.up, w.up_bias, offsets_E1,
                                   {.x = token_R});
        if (wants_grad(x))
          grouped_linear_bwd_input(kb, x.grad().view(), true, dup, w.up, offsets_E1,
                                   {.x = token_R});
      });
}

}  // namespace moe::ops
