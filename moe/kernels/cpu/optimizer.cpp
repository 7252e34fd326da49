// SPDX-License-Identifier: MIT
// AdamW, one pass over parameter, moments and gradient; elements are split over threads.
#include <cmath>

#include "moe/kernels/cpu/frame.h"

// Per target from here on.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moe/kernels/cpu/optimizer.cpp"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#include "hwy/foreach_target.h"
// After foreach_target.h, which includes this file again.
#include "moe/kernels/cpu/lanes-inl.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {
namespace {

void adamw(MatView p, MatView m, MatView v, MatView g, const AdamW& a) {
  const F32 d;
  const F32Vec b1 = hn::Set(d, float(a.beta1)), b2 = hn::Set(d, float(a.beta2));
  const F32Vec c1 = hn::Set(d, float(1 - a.beta1)), c2 = hn::Set(d, float(1 - a.beta2));
  const F32Vec eps = hn::Set(d, float(a.eps)), grad_scale = hn::Set(d, float(a.grad_scale));
  const F32Vec keep = hn::Set(d, float(1 - a.lr * a.weight_decay)),
               step = hn::Set(d, float(-a.lr / a.bias_correction1));
  const F32Vec root2 = hn::Set(d, float(std::sqrt(a.bias_correction2)));
  for_element_ranges({p, m, v, g}, [&](int64_t row, int64_t begin, int64_t end) HWY_ATTR {
    float *param = p.row<float>(row), *first = m.row<float>(row), *second = v.row<float>(row);
    const float* gradient = g.row<float>(row);
    for_each_vector(begin, end, [&](auto at) HWY_ATTR {
      const F32Vec grad = hn::Mul(at.load(gradient), grad_scale);
      const F32Vec m1 = hn::MulAdd(grad, c1, hn::Mul(at.load(first), b1));
      const F32Vec v1 = hn::MulAdd(hn::Mul(grad, grad), c2, hn::Mul(at.load(second), b2));
      at.store(m1, first);
      at.store(v1, second);
      const F32Vec direction = hn::Div(m1, hn::Add(hn::Div(hn::Sqrt(v1), root2), eps));
      at.store(hn::MulAdd(step, direction, hn::Mul(at.load(param), keep)), param);
    });
  });
}

}  // namespace

void install_optimizer(Kernels& k) { k.adamw = adamw; }

}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET

#if HWY_ONCE
namespace moe {
MOE_DEFINE_CPU_INSTALL(cpu_install_optimizer, install_optimizer)
}  // namespace moe
#endif
