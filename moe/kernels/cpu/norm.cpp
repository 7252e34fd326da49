// SPDX-License-Identifier: MIT
// RMSNorm and LayerNorm: threads split rows for y and dx, columns for the chains of dw and db.
#include <cmath>

#include "moe/kernels/cpu/frame.h"

// Per target from here on.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moe/kernels/cpu/norm.cpp"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#include "hwy/foreach_target.h"
// After foreach_target.h, which includes this file again.
#include "moe/kernels/cpu/lanes-inl.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {
namespace {

void rms_norm_fwd(MatView y, MatView rstd_TG, MatView x, MatView w_1N, int64_t groups, double eps) {
  const int64_t n = x.cols / groups;
  const float* w = w_1N.row<float>(0);
  for_row_ranges(x.rows, x.cols, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t g = 0; g < groups; ++g) {
        const float* in = x.row<float>(t) + g * n;
        float* out = y.row<float>(t) + g * n;
        const float squares = reduce_row(n, [&](F32Vec sum, auto at) HWY_ATTR {
          const F32Vec v = at.load(in);
          return hn::MulAdd(v, v, sum);
        });
        const float rstd = 1.0f / std::sqrt(squares / float(n) + float(eps));
        rstd_TG.at<float>(t, g) = rstd;
        const F32Vec scale = hn::Set(F32(), rstd);
        for_each_vector(0, n, [&](auto at) HWY_ATTR {
          at.store(hn::Mul(hn::Mul(at.load(in), scale), at.load(w)), out);
        });
      }
  });
}

void rms_norm_bwd(MatView dx, MatView dw_1N, MatView dy, MatView x, MatView rstd_TG, MatView w_1N,
                  int64_t groups) {
  const int64_t n = x.cols / groups;
  const float* w = w_1N.row<float>(0);
  for_row_ranges(x.rows, x.cols, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t g = 0; g < groups; ++g) {
        const float *in = x.row<float>(t) + g * n, *dout = dy.row<float>(t) + g * n;
        float* din = dx.row<float>(t) + g * n;
        const F32Vec rstd = hn::Set(F32(), rstd_TG.at<float>(t, g));
        const float dot = reduce_row(n, [&](F32Vec sum, auto at) HWY_ATTR {
          return hn::MulAdd(hn::Mul(at.load(dout), at.load(w)), hn::Mul(at.load(in), rstd), sum);
        });
        const F32Vec mean = hn::Set(F32(), dot / float(n));
        for_each_vector(0, n, [&](auto at) HWY_ATTR {
          const F32Vec xhat = hn::Mul(at.load(in), rstd);
          const F32Vec centred = hn::NegMulAdd(xhat, mean, hn::Mul(at.load(dout), at.load(w)));
          at.store(hn::MulAdd(rstd, centred, at.load(din)), din);
        });
      }
  });
  for_column_ranges(n, x.rows * groups, [&](int64_t begin, int64_t end) HWY_ATTR {
    column_chains(dw_1N.row<float>(0), begin, end, x.rows,
                  [&](F32Vec dw, int64_t t, auto at) HWY_ATTR {
                    const float *in = x.row<float>(t), *dout = dy.row<float>(t),
                                *rstd = rstd_TG.row<float>(t);
                    for (int64_t g = 0; g < groups; ++g)
                      dw = hn::MulAdd(at.load(dout + g * n),
                                      hn::Mul(at.load(in + g * n), hn::Set(F32(), rstd[g])), dw);
                    return dw;
                  });
  });
}

void layer_norm_fwd(MatView y, MatView mean_T1, MatView rstd_T1, MatView x, MatView w_1N,
                    MatView b_1N, double eps) {
  const int64_t n = x.cols;
  const float *w = w_1N.row<float>(0), *b = b_1N ? b_1N.row<float>(0) : nullptr;
  for_row_ranges(x.rows, n, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      const float* in = x.row<float>(t);
      float* out = y.row<float>(t);
      const auto add = [&](F32Vec sum, auto at) HWY_ATTR { return hn::Add(sum, at.load(in)); };
      const float row_mean = reduce_row(n, add) / float(n);
      const F32Vec mean = hn::Set(F32(), row_mean);
      const float squares = reduce_row(n, [&](F32Vec sum, auto at) HWY_ATTR {
        const F32Vec centred = hn::Sub(at.load(in), mean);
        return hn::MulAdd(centred, centred, sum);
      });
      const float row_rstd = 1.0f / std::sqrt(squares / float(n) + float(eps));
      mean_T1.at<float>(t, 0) = row_mean;
      rstd_T1.at<float>(t, 0) = row_rstd;
      const F32Vec rstd = hn::Set(F32(), row_rstd);
      const auto xhat = [&](auto at) HWY_ATTR { return hn::Mul(hn::Sub(at.load(in), mean), rstd); };
      if (b)
        for_each_vector(0, n, [&](auto at) HWY_ATTR {
          at.store(hn::MulAdd(xhat(at), at.load(w), at.load(b)), out);
        });
      else
        for_each_vector(0, n,
                        [&](auto at) HWY_ATTR { at.store(hn::Mul(xhat(at), at.load(w)), out); });
    }
  });
}

void layer_norm_bwd(MatView dx, MatView dw_1N, MatView db_1N, MatView dy, MatView x,
                    MatView mean_T1, MatView rstd_T1, MatView w_1N) {
  const int64_t n = x.cols;
  const float* w = w_1N.row<float>(0);
  for_row_ranges(x.rows, n, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      const float *in = x.row<float>(t), *dout = dy.row<float>(t);
      float* din = dx.row<float>(t);
      const F32Vec mean = hn::Set(F32(), mean_T1.at<float>(t, 0)),
                   rstd = hn::Set(F32(), rstd_T1.at<float>(t, 0));
      const auto g = [&](auto at) HWY_ATTR { return hn::Mul(at.load(dout), at.load(w)); };
      const auto xhat = [&](auto at) HWY_ATTR { return hn::Mul(hn::Sub(at.load(in), mean), rstd); };
      const float sum_g =
          reduce_row(n, [&](F32Vec sum, auto at) HWY_ATTR { return hn::Add(sum, g(at)); });
      const float sum_gx = reduce_row(
          n, [&](F32Vec sum, auto at) HWY_ATTR { return hn::MulAdd(g(at), xhat(at), sum); });
      const F32Vec mean_g = hn::Set(F32(), sum_g / float(n)),
                   mean_gx = hn::Set(F32(), sum_gx / float(n));
      for_each_vector(0, n, [&](auto at) HWY_ATTR {
        const F32Vec centred = hn::NegMulAdd(xhat(at), mean_gx, hn::Sub(g(at), mean_g));
        at.store(hn::MulAdd(rstd, centred, at.load(din)), din);
      });
    }
  });
  for_column_ranges(n, x.rows, [&](int64_t begin, int64_t end) HWY_ATTR {
    column_chains(dw_1N.row<float>(0), begin, end, x.rows,
                  [&](F32Vec dw, int64_t t, auto at) HWY_ATTR {
                    const F32Vec mean = hn::Set(F32(), mean_T1.at<float>(t, 0)),
                                 rstd = hn::Set(F32(), rstd_T1.at<float>(t, 0));
                    return hn::MulAdd(at.load(dy.row<float>(t)),
                                      hn::Mul(hn::Sub(at.load(x.row<float>(t)), mean), rstd), dw);
                  });
    if (!db_1N) return;
    column_chains(db_1N.row<float>(0), begin, end, x.rows,
                  [&](F32Vec db, int64_t t, auto at)
                      HWY_ATTR { return hn::Add(db, at.load(dy.row<float>(t))); });
  });
}

}  // namespace

void install_norm(Kernels& k) {
  k.rms_norm_fwd = rms_norm_fwd;
  k.rms_norm_bwd = rms_norm_bwd;
  k.layer_norm_fwd = layer_norm_fwd;
  k.layer_norm_bwd = layer_norm_bwd;
}

}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET

#if HWY_ONCE
namespace moe {
MOE_DEFINE_CPU_INSTALL(cpu_install_norm, install_norm)
}  // namespace moe
#endif
