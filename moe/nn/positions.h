// SPDX-License-Identifier: MIT
// Position tables, computed in float64 by libm and rounded once: RoPE (arXiv:2104.09864), sinusoids
// (arXiv:1706.03762), ALiBi slopes (arXiv:2108.12409), T5 buckets (arXiv:1910.10683).
#pragma once

#include <functional>
#include <memory>

#include "moe/nn/model_config.h"
#include "moe/tensor/tensor.h"

namespace moe {

/// A table with one row per position, made only as far as positions occur: a configuration may
/// allow millions. Copies share it; any thread may ask.
class PositionTable {
 public:
  using Element = std::function<double(int64_t position, int64_t column)>;

  PositionTable() = default;
  PositionTable(int64_t max_rows, int64_t columns, DType dtype, Element element);
  explicit operator bool() const { return state_ != nullptr; }
  /// [at least n, columns], n <= max_rows. What was handed out before stays valid.
  Tensor rows(int64_t n) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// Inverse frequencies theta^(-2 i / d), i < d / 2, with the scaling applied (Llama 3: wavelengths
/// w below original / high keep theirs, above original / low are divided by factor, between them
/// interpolated by s = (original / w - low) / (high - low)).
std::vector<double> rope_frequencies(int64_t rotary_dim, double theta, const RopeScaling& scaling);
struct RopeTable {
  PositionTable cos_PR, sin_PR;  // R = head_dim / 2
};
RopeTable rope_table(const ModelConfig& config, DType dtype);

/// Rows of D: sin in even columns, cos in odd ones, of position / 10000^(2 i / D).
PositionTable sinusoidal_table(int64_t max_seq_len, int64_t d_model, DType dtype);

/// [1, H]: 2^(-8 h / H), h = 1.. for a power of two; otherwise the slopes of the power of two
/// below, then every other one of twice that.
Tensor alibi_slopes(int64_t n_heads, DType dtype);

/// Bucket of each distance 0 .. max_distance, causal: the first half exact, then logarithmic up to
/// max_distance. i32.
Tensor t5_buckets(int64_t n_buckets, int64_t max_distance);

}  // namespace moe
