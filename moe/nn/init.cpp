// SPDX-License-Identifier: MIT
#include "moe/nn/init.h"

#include <cmath>

#include "moe/base/parallel.h"
#include "moe/base/rng.h"

namespace moe {
namespace {

constexpr double kStd = 0.02;

// Fills a row-major tensor with draws; element (r, c) is keyed by (name, r, c).
void fill_normal(const Tensor& values, const RngStream& stream, double std_dev) {
  const int64_t cols = values.shape()[-1], rows = values.numel() / std::max<int64_t>(1, cols);
  parallel_for(rows, 8, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t c = 0; c < cols; ++c) {
        const double x = std_dev * stream.normal(r, c);
        if (values.dtype() == DType::f64)
          values.data<double>()[size_t(r * cols + c)] = double(float(x));
        else
          values.data<float>()[size_t(r * cols + c)] = float(x);
      }
  });
}

void fill_constant(const Tensor& values, double x) {
  if (values.dtype() == DType::f64)
    std::fill(values.data<double>().begin(), values.data<double>().end(), x);
  else
    std::fill(values.data<float>().begin(), values.data<float>().end(), float(x));
}

}  // namespace

void initialize(const TransformerLM& model, uint64_t seed) {
  const ModelConfig& c = model.config();
  for (const Parameter& p : model.parameters())
    for (const Piece& piece : p.pieces) {
      const Tensor values = Tensor::zeros(piece_shape(p, piece), p.var.dtype());
      const bool is_layer_scale = ends_with(p.name, "layer_scale");
      if (p.role == Role::norm)
        fill_constant(values, 1);
      else if (ends_with(p.name, "embed_ngrams.weight") || ends_with(p.name, "gate.temperature"))
        fill_constant(values, 0);  // an n-gram that was never met adds nothing; tau is log 2
      else if (is_layer_scale)
        fill_constant(values, c.layer_scale);
      else if (p.role != Role::bias)
        fill_normal(values, Rng{seed, 0}.stream("init:" + piece.name),
                    p.residual_output ? kStd / std::sqrt(2.0 * double(c.n_layers)) : kStd);
      write_piece(p.var.value(), piece, values);
    }
}

}  // namespace moe
