// SPDX-License-Identifier: MIT
#include "moe/ops/dropout.h"

#include <cmath>

#include "moe/base/parallel.h"
#include "moe/kernels/kernels.h"

namespace moe::ops {

Var dropout(const Var& x_TD, double rate, const RngStream& stream, const Tensor& token_index_T) {
  MOE_CHECK(rate >= 0 && rate < 1, "[dropout] rate ", rate, " is outside [0, 1)");
  if (rate == 0) return x_TD;
  const int64_t T = x_TD.size(0), D = x_TD.size(1);
  MOE_CHECK(token_index_T.numel() == T, "[dropout] ", token_index_T.numel(), " token indices for ",
            T, " rows");
  Tensor mask = Tensor::empty({T, D}, x_TD.dtype());
  auto fill = [&](auto values, auto keep) {
    parallel_for(T, 16, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t index = token_index_T.data<int64_t>()[size_t(t)];
        for (int64_t d = 0; d < D; ++d)
          values[size_t(t * D + d)] = stream.uniform(index, d) >= rate ? keep : decltype(keep)(0);
      }
    });
  };
  if (mask.dtype() == DType::f64)
    fill(mask.data<double>(), 1.0 / (1.0 - rate));
  else
    fill(mask.data<float>(), float(1.0 / (1.0 - rate)));
  Tensor y = Tensor::empty(x_TD.shape(), x_TD.dtype());
  kernels(y.dtype()).multiply(y.view(), x_TD.view(), mask.view());
  return record("dropout", y, {x_TD}, [mask, place = x_TD.grad_place()](const Tensor& dy) {
    kernels(dy.dtype()).multiply_accumulate(place->grad().view(), dy.view(), mask.view());
  });
}

Var embedding_noise(const Var& x_TD, double alpha, const RngStream& stream,
                    const Tensor& token_index_T, const Tensor& sequence_starts_B1) {
  const int64_t T = x_TD.size(0), D = x_TD.size(1);
  MOE_CHECK(token_index_T.numel() == T, "[embedding_noise] ", token_index_T.numel(),
            " token indices for ", T, " rows");
  Tensor noise = Tensor::empty({T, D}, x_TD.dtype());
  const std::span<const int32_t> starts = sequence_starts_B1.data<int32_t>();
  with_elements(noise, [&](auto values) {
    using Number = std::remove_reference_t<decltype(values[0])>;
    parallel_for(std::ssize(starts) - 1, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t first = starts[size_t(b)], last = starts[size_t(b) + 1];
        const double size = alpha / std::sqrt(double((last - first) * D));
        for (int64_t t = first; t < last; ++t) {
          const int64_t index = token_index_T.data<int64_t>()[size_t(t)];
          for (int64_t d = 0; d < D; ++d)
            values[size_t(t * D + d)] = Number(size * (2 * stream.uniform(index, d) - 1));
        }
      }
    });
  });
  Tensor y = Tensor::empty(x_TD.shape(), x_TD.dtype());
  kernels(y.dtype()).add(y.view(), x_TD.view(), noise.view());
  return record("embedding_noise", y, {x_TD},
                [place = x_TD.grad_place()](const Tensor& dy) { accumulate(place->grad(), dy); });
}

}  // namespace moe::ops
