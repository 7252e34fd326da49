// SPDX-License-Identifier: MIT
#include "moe/nn/accounting.h"

#include <algorithm>
#include <cmath>

namespace moe {
namespace {

// Numbers of a file, and of memory, where 16 output rows make a panel.
struct Size {
  double numbers = 0, stored = 0;

  Size operator+(const Size& b) const { return {numbers + b.numbers, stored + b.stored}; }
  Size operator*(double n) const { return {numbers * n, stored * n}; }
};

Size vector(double n) { return {n, n}; }
Size matrix(double out, double in) { return {out * in, std::ceil(out / 16) * 16 * in}; }
Size linear(double out, double in, bool bias) {
  return matrix(out, in) + (bias ? matrix(out, 1) : Size{});
}

}  // namespace

ParameterCount count_parameters(const ModelConfig& c) {
  const double D = double(c.d_model), V = double(c.vocab_size), H = double(c.n_heads),
               G = double(c.n_kv_heads), A = double(c.head_dim);
  const bool qkv_bias = c.bias || c.qkv_bias, o_bias = c.bias || c.o_bias,
             mlp_bias = c.bias || c.mlp_bias;
  const Size norm = vector(D * (c.norm == "layer_norm" && c.bias ? 2 : 1));
  auto ffn = [&](double F) {
    return linear(F, D, mlp_bias) * (c.is_gated() ? 2 : 1) + linear(D, F, mlp_bias);
  };

  const Size tables =
      matrix(V, D) + (c.position == "learned" ? matrix(double(c.max_seq_len), D) : Size{});
  Size shared = tables + norm;  // outside the blocks
  if (!c.tie_embeddings) shared = shared + matrix(V, D);
  if (c.position == "t5") shared = shared + vector(double(c.relative_buckets) * H);
  Size block = linear((H + 2 * G) * A, D, qkv_bias) + linear(D, H * A, o_bias) + norm * 2;
  if (c.qk_norm == "true") block = block + vector(2 * A);
  if (c.qk_norm == "per_row") block = block + vector((H + G) * A);
  if (c.attention_sink) block = block + vector(H);
  if (c.position == "shaw") block = block + vector(2 * double(2 * c.relative_max_distance + 1) * A);
  if (c.layer_scale > 0) block = block + vector(2 * D);

  const MoeConfig& m = c.moe;
  const double E = double(m.n_experts);
  const Size expert = ffn(double(m.d_ff));
  const bool identity = m.router == "longcat";
  Size every_token = matrix(E + (identity ? double(m.n_identity_experts) : 0), D);
  if (m.n_shared_experts > 0)
    every_token =
        every_token + ffn(double(m.shared_d_ff > 0 ? m.shared_d_ff : m.n_shared_experts * m.d_ff));
  if (m.shared_gate) every_token = every_token + matrix(1, D);

  Size total = shared, active = shared;
  for (const LayerConfig& layer : resolve_layers(c)) {
    const Size dense = block + (layer.moe ? every_token : ffn(double(c.d_ff)));
    total = total + dense + (layer.moe ? expert * E : Size{});
    active = active + dense + (layer.moe ? expert * std::min(double(m.top_k), E) : Size{});
  }
  return {.total = total.numbers,
          .active = active.numbers,
          .embedding = tables.numbers,
          .stored = total.stored};
}

}  // namespace moe
