// SPDX-License-Identifier: MIT
// Softmax and fused cross-entropy; rows are split over threads.
#include <cmath>

#include "moe/kernels/cpu/frame.h"

// Per target from here on.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moe/kernels/cpu/softmax.cpp"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#include "hwy/foreach_target.h"
// After foreach_target.h, which includes this file again.
#include "moe/kernels/cpu/lanes-inl.h"
#include "moe/kernels/cpu/math-inl.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {
namespace {

void softmax_fwd(MatView p, MatView z) {
  const F32 d;
  for_row_ranges(z.rows, z.cols, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      const float* in = z.row<float>(t);
      float* out = p.row<float>(t);
      const F32Vec m = hn::Set(d, max_of_row(in, z.cols));
      const float sum = reduce_row(z.cols, [&](F32Vec lane, auto at) HWY_ATTR {
        const F32Vec e = Exp(d, hn::Sub(at.load(in), m));
        at.store(e, out);
        return hn::Add(lane, e);
      });
      const F32Vec divisor = hn::Set(d, sum);
      for_each_vector(0, z.cols,
                      [&](auto at) HWY_ATTR { at.store(hn::Div(at.load(out), divisor), out); });
    }
  });
}

void softmax_bwd(MatView dz, MatView dp, MatView p) {
  for_row_ranges(p.rows, p.cols, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      const float *y = p.row<float>(t), *dy = dp.row<float>(t);
      float* dx = dz.row<float>(t);
      const F32Vec dot = hn::Set(F32(), reduce_row(p.cols, [&](F32Vec lane, auto at) HWY_ATTR {
                                   return hn::MulAdd(at.load(dy), at.load(y), lane);
                                 }));
      for_each_vector(0, p.cols, [&](auto at) HWY_ATTR {
        at.store(hn::MulAdd(at.load(y), hn::Sub(at.load(dy), dot), at.load(dx)), dx);
      });
    }
  });
}

void cross_entropy_fwd(MatView loss_T1, MatView max_T1, MatView sum_T1, MatView z_TV,
                       std::span<const int32_t> targets_T) {
  const F32 d;
  for_row_ranges(z_TV.rows, z_TV.cols, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      const float* z = z_TV.row<float>(t);
      const float row_max = max_of_row(z, z_TV.cols);
      const F32Vec m = hn::Set(d, row_max);
      const float sum = reduce_row(z_TV.cols, [&](F32Vec lane, auto at) HWY_ATTR {
        return hn::Add(lane, Exp(d, hn::Sub(at.load(z), m)));
      });
      const int32_t target = targets_T[size_t(t)];
      max_T1.at<float>(t, 0) = row_max;
      sum_T1.at<float>(t, 0) = sum;
      loss_T1.at<float>(t, 0) = target < 0 ? 0.0f : (row_max - z[target]) + log_(sum);
    }
  });
}

void cross_entropy_bwd(MatView dz_TV, MatView z_TV, MatView max_T1, MatView sum_T1,
                       std::span<const int32_t> targets_T, double scale) {
  const F32 d;
  for_row_ranges(z_TV.rows, z_TV.cols, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      const int32_t target = targets_T[size_t(t)];
      if (target < 0) continue;
      const float *z = z_TV.row<float>(t), row_max = max_T1.at<float>(t, 0),
                  row_sum = sum_T1.at<float>(t, 0);
      float* dz = dz_TV.row<float>(t);
      const float p_target = exp_(z[target] - row_max) / row_sum;
      const float dz_target = std::fma(p_target - 1.0f, float(scale), dz[target]);
      const F32Vec m = hn::Set(d, row_max), sum = hn::Set(d, row_sum),
                   factor = hn::Set(d, float(scale));
      for_each_vector(0, z_TV.cols, [&](auto at) HWY_ATTR {
        const F32Vec p = hn::Div(Exp(d, hn::Sub(at.load(z), m)), sum);
        at.store(hn::MulAdd(p, factor, at.load(dz)), dz);
      });
      dz[target] = dz_target;
    }
  });
}

}  // namespace

void install_softmax(Kernels& k) {
  k.softmax_fwd = softmax_fwd;
  k.softmax_bwd = softmax_bwd;
  k.cross_entropy_fwd = cross_entropy_fwd;
  k.cross_entropy_bwd = cross_entropy_bwd;
}

}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET

#if HWY_ONCE
namespace moe {
MOE_DEFINE_CPU_INSTALL(cpu_install_softmax, install_softmax)
}  // namespace moe
#endif
