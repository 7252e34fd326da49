// SPDX-License-Identifier: MIT
#include "moe/ops/cross_entropy.h"

#include "moe/kernels/kernels.h"

namespace moe::ops {

Var cross_entropy(const Var& logits_TV, const Tensor& targets_T, int64_t n_tokens,
                  LossSum* running) {
  const std::span<const int32_t> targets = targets_T.data<int32_t>();
  const int64_t T = logits_TV.size(0), V = logits_TV.size(1);
  MOE_CHECK(int64_t(targets.size()) == T, "[cross_entropy] ", targets.size(), " targets for ", T,
            " rows of logits");
  for (const int32_t target : targets)
    MOE_CHECK(target >= -1 && target < V, "[cross_entropy] target ", target,
              " is outside the vocabulary of ", V);
  const DType dtype = logits_TV.dtype();
  Tensor loss_T1 = Tensor::empty({T, 1}, dtype), max_T1 = Tensor::empty({T, 1}, dtype),
         sum_T1 = Tensor::empty({T, 1}, dtype);
  kernels(dtype).cross_entropy_fwd(loss_T1.view(), max_T1.view(), sum_T1.view(), logits_TV.view(),
                                   targets);
  LossSum total, *into = running ? running : &total;
  const double before = into->sum;
  for (int64_t t = 0; t < T; ++t) {
    if (targets[size_t(t)] < 0) continue;
    into->sum += dtype == DType::f64 ? loss_T1.data<double>()[size_t(t)]
                                     : double(loss_T1.data<float>()[size_t(t)]);
    into->tokens += 1;
  }
  const double denominator = double(std::max<int64_t>(1, n_tokens)),
               loss[1] = {(into->sum - before) / denominator};
  return record(
      "cross_entropy", Tensor::from<double>({1}, loss), {logits_TV}, [=](const Tensor& dloss) {
        kernels(dtype).cross_entropy_bwd(logits_TV.grad().view(), logits_TV.view(), max_T1.view(),
                                         sum_T1.view(), targets_T.data<int32_t>(),
                                         dloss.data<double>()[0] * (1.0 / denominator));
      });
}

}  // namespace moe::ops
