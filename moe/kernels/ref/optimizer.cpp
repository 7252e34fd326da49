// SPDX-License-Identifier: MIT
// AdamW (Loshchilov and Hutter, arXiv:1711.05101), PyTorch's order of operations: decoupled decay
// first, eps outside the root.
#include "moe/kernels/ref/ref.h"

namespace moe::ref {
namespace {

template <class T>
void adamw(MatView p, MatView m, MatView v, MatView g, const AdamW& a) {
  const T b1 = T(a.beta1), b2 = T(a.beta2), c1 = T(1 - a.beta1), c2 = T(1 - a.beta2),
          eps = T(a.eps), grad_scale = T(a.grad_scale);
  const T keep = T(1 - a.lr * a.weight_decay), step = T(-a.lr / a.bias_correction1),
          root2 = T(std::sqrt(a.bias_correction2));
  for (int64_t t = 0; t < p.rows; ++t)
    for (int64_t i = 0; i < p.cols; ++i) {
      const T grad = g.at<T>(t, i) * grad_scale;
      const T m1 = std::fma(grad, c1, m.at<T>(t, i) * b1),
              v1 = std::fma(grad * grad, c2, v.at<T>(t, i) * b2);
      m.at<T>(t, i) = m1;
      v.at<T>(t, i) = v1;
      p.at<T>(t, i) = std::fma(step, m1 / (std::sqrt(v1) / root2 + eps), p.at<T>(t, i) * keep);
    }
}

}  // namespace

template <class T>
void install_optimizer(Kernels& k) {
  k.adamw = adamw<T>;
}
template void install_optimizer<float>(Kernels&);
template void install_optimizer<double>(Kernels&);

}  // namespace moe::ref
