// SPDX-License-Identifier: MIT
#include "moe/nn/positions.h"

#include <cmath>
#include <numbers>

namespace moe {
namespace {

Tensor from_doubles(Shape shape, const std::vector<double>& values, DType dtype) {
  const Tensor t = Tensor::from<double>(shape, values);
  return dtype == DType::f64 ? t : t.to(dtype);
}

}  // namespace

std::vector<double> rope_frequencies(int64_t rotary_dim, double theta, const RopeScaling& s) {
  std::vector<double> frequencies;
  for (int64_t i = 0; i < rotary_dim / 2; ++i) {
    double f = std::pow(theta, -2.0 * double(i) / double(rotary_dim));
    if (s.type == "llama3") {
      const double original = double(s.original_max_seq_len), wavelength = 2 * std::numbers::pi / f;
      if (wavelength > original / s.low_freq_factor) {
        f /= s.factor;
      } else if (wavelength > original / s.high_freq_factor) {
        const double smooth =
            (original / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
        f = (1 - smooth) * f / s.factor + smooth * f;
      }
    }
    frequencies.push_back(f);
  }
  return frequencies;
}

RopeTable rope_table(const ModelConfig& config, DType dtype) {
  const std::vector<double> frequencies =
      rope_frequencies(config.head_dim, config.rope_theta, config.rope_scaling);
  const int64_t half = int64_t(frequencies.size());
  std::vector<double> cosines, sines;
  cosines.reserve(size_t(config.max_seq_len * half));
  sines.reserve(size_t(config.max_seq_len * half));
  for (int64_t p = 0; p < config.max_seq_len; ++p)
    for (const double f : frequencies) {
      cosines.push_back(std::cos(double(p) * f));
      sines.push_back(std::sin(double(p) * f));
    }
  const Shape shape = {config.max_seq_len, half};
  return {from_doubles(shape, cosines, dtype), from_doubles(shape, sines, dtype)};
}

Tensor sinusoidal_table(int64_t n, int64_t d_model, DType dtype) {
  std::vector<double> values;
  for (int64_t p = 0; p < n; ++p)
    for (int64_t d = 0; d < d_model; ++d) {
      const double angle = double(p) / std::pow(10000.0, double(d - d % 2) / double(d_model));
      values.push_back(d % 2 == 0 ? std::sin(angle) : std::cos(angle));
    }
  return from_doubles({n, d_model}, values, dtype);
}

Tensor alibi_slopes(int64_t n_heads, DType dtype) {
  int64_t power = 1;
  while (power * 2 <= n_heads) power *= 2;
  std::vector<double> slopes;
  for (int64_t h = 1; h <= power; ++h)
    slopes.push_back(std::exp2(-8.0 * double(h) / double(power)));
  for (int64_t h = 1; int64_t(slopes.size()) < n_heads; h += 2)
    slopes.push_back(std::exp2(-8.0 * double(h) / double(2 * power)));
  return from_doubles({1, n_heads}, slopes, dtype);
}

std::vector<int32_t> t5_buckets(int64_t n_buckets, int64_t max_distance) {
  const int64_t exact = n_buckets / 2;
  std::vector<int32_t> buckets;
  for (int64_t n = 0; n <= max_distance; ++n) {
    if (n < exact) {
      buckets.push_back(int32_t(n));
      continue;
    }
    const double fraction =
        std::log(double(n) / double(exact)) / std::log(double(max_distance) / double(exact));
    buckets.push_back(
        int32_t(std::min(n_buckets - 1, exact + int64_t(fraction * double(n_buckets - exact)))));
  }
  return buckets;
}

}  // namespace moe
