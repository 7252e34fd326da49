// SPDX-License-Identifier: MIT
#include "moe/nn/accounting.h"

#include <algorithm>

namespace moe {
namespace {

double linear(double in, double out, bool bias) { return in * out + (bias ? out : 0); }

}  // namespace

ParameterCount count_parameters(const ModelConfig& c) {
  const double D = double(c.d_model), V = double(c.vocab_size), H = double(c.n_heads),
               G = double(c.n_kv_heads), A = double(c.head_dim);
  const bool qkv_bias = c.bias || c.qkv_bias, o_bias = c.bias || c.o_bias,
             mlp_bias = c.bias || c.mlp_bias;
  const double norm = D * (c.norm == "layer_norm" && c.bias ? 2 : 1);
  auto ffn = [&](double F) {
    return (c.is_gated() ? 2 : 1) * linear(D, F, mlp_bias) + linear(F, D, mlp_bias);
  };

  ParameterCount n;
  n.embedding = V * D + (c.position == "learned" ? double(c.max_seq_len) * D : 0);
  n.total = n.embedding + norm;
  if (!c.tie_embeddings) n.total += V * D;
  if (c.position == "t5") n.total += double(c.relative_buckets) * H;
  double attention = linear(D, (H + 2 * G) * A, qkv_bias) + linear(H * A, D, o_bias);
  if (c.qk_norm == "true") attention += 2 * A;
  if (c.qk_norm == "per_row") attention += (H + G) * A;
  if (c.attention_sink) attention += H;
  if (c.position == "shaw") attention += 2 * double(2 * c.relative_max_distance + 1) * A;
  const double block = attention + 2 * norm + (c.layer_scale > 0 ? 2 * D : 0);

  n.active = n.total;
  for (const LayerConfig& layer : resolve_layers(c)) {
    n.total += block;
    n.active += block;
    if (!layer.moe) {
      n.total += ffn(double(c.d_ff));
      n.active += ffn(double(c.d_ff));
      continue;
    }
    const MoeConfig& m = c.moe;
    const double E = double(m.n_experts), expert = ffn(double(m.d_ff));
    double common = D * (E + double(m.n_identity_experts));
    if (m.n_shared_experts > 0)
      common += ffn(double(m.shared_d_ff > 0 ? m.shared_d_ff : m.n_shared_experts * m.d_ff));
    if (m.shared_gate) common += D;
    n.total += common + E * expert;
    n.active += common + std::min(double(m.top_k), E) * expert;
  }
  return n;
}

}  // namespace moe
