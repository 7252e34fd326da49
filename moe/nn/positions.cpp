// SPDX-License-Identifier: MIT
#include "moe/nn/positions.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numbers>

namespace moe {
namespace {

Tensor from_doubles(Shape shape, const std::vector<double>& values, DType dtype) {
  const Tensor t = Tensor::from<double>(shape, values);
  return dtype == DType::f64 ? t : t.to(dtype);
}

}  // namespace

struct PositionTable::State {
  const int64_t max_rows, columns;
  const DType dtype;
  const Element element;
  std::mutex mutex;
  Tensor made;

  State(int64_t rows, int64_t cols, DType type, Element f)
      : max_rows(rows), columns(cols), dtype(type), element(std::move(f)) {}
};

PositionTable::PositionTable(int64_t max_rows, int64_t columns, DType dtype, Element element)
    : state_(std::make_shared<State>(max_rows, columns, dtype, std::move(element))) {}

Tensor PositionTable::rows(int64_t n) const {
  State& s = *state_;
  MOE_CHECK(n >= 0 && n <= s.max_rows, "[positions] ", n, " positions, the model has ", s.max_rows);
  const std::lock_guard lock(s.mutex);
  const int64_t have = s.made ? s.made.size(0) : 0;
  if (s.made && n <= have) return s.made;
  // Doubling, so that a growing sequence costs a constant per position.
  const int64_t rows = std::min(s.max_rows, std::max({n, 2 * have, int64_t{256}}));
  std::vector<double> values;
  values.reserve(size_t(rows * s.columns));
  for (int64_t p = 0; p < rows; ++p)
    for (int64_t c = 0; c < s.columns; ++c) values.push_back(s.element(p, c));
  return s.made = from_doubles({rows, s.columns}, values, s.dtype);
}

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
  const std::vector<double> f =
      rope_frequencies(config.head_dim, config.rope_theta, config.rope_scaling);
  auto table = [&](double (*wave)(double)) {
    return PositionTable(config.max_seq_len, int64_t(f.size()), dtype,
                         [=](int64_t p, int64_t i) { return wave(double(p) * f[size_t(i)]); });
  };
  return {table(std::cos), table(std::sin)};
}

PositionTable sinusoidal_table(int64_t max_seq_len, int64_t d_model, DType dtype) {
  return {max_seq_len, d_model, dtype, [=](int64_t p, int64_t d) {
            const double angle = double(p) / std::pow(10000.0, double(d - d % 2) / double(d_model));
            return d % 2 == 0 ? std::sin(angle) : std::cos(angle);
          }};
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

Tensor t5_buckets(int64_t n_buckets, int64_t max_distance) {
  const int64_t exact = n_buckets / 2;
  Tensor bucket_of_distance = Tensor::empty({max_distance + 1}, DType::i32);
  for (int64_t n = 0; n <= max_distance; ++n) {
    int64_t bucket = n;
    if (n >= exact) {
      const double fraction =
          std::log(double(n) / double(exact)) / std::log(double(max_distance) / double(exact));
      bucket = std::min(n_buckets - 1, exact + int64_t(fraction * double(n_buckets - exact)));
    }
    bucket_of_distance.data<int32_t>()[size_t(n)] = int32_t(bucket);
  }
  return bucket_of_distance;
}

}  // namespace moe
