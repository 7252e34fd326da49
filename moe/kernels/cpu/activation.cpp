// SPDX-License-Identifier: MIT
// Pointwise activations and their gated forms; elements, or rows of gate and up panels, are split
// over threads.
#include "moe/kernels/cpu/frame.h"

// Per target from here on.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moe/kernels/cpu/activation.cpp"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#include "hwy/foreach_target.h"
// After foreach_target.h, which includes this file again.
#include "moe/kernels/cpu/lanes-inl.h"
#include "moe/kernels/cpu/math-inl.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {
namespace {

struct ValueAndSlope {
  F32Vec value, slope;
};

// f(x) and f'(x), operation by operation those of the reference; a caller that uses one of them
// pays for one.
template <Activation kKind>
HWY_INLINE ValueAndSlope activate(F32Vec x) {
  using namespace math_constants;
  const F32 d;
  const F32Vec zero = hn::Zero(d), one = hn::Set(d, 1.0f), half = hn::Set(d, 0.5f);
  if constexpr (kKind == Activation::relu) {
    return {hn::IfThenZeroElse(hn::Lt(x, zero), x), hn::IfThenElseZero(hn::Gt(x, zero), one)};
  } else if constexpr (kKind == Activation::sigmoid) {
    const F32Vec s = Sigmoid(d, x);
    return {s, hn::Mul(s, hn::Sub(one, s))};
  } else if constexpr (kKind == Activation::silu) {
    const F32Vec s = Sigmoid(d, x);
    return {hn::Mul(x, s), hn::Mul(s, hn::MulAdd(x, hn::Sub(one, s), one))};
  } else if constexpr (kKind == Activation::gelu_tanh) {
    const F32Vec c = hn::Set(d, kSqrt2OverPi), square = hn::Mul(x, x);
    const F32Vec u = hn::Mul(c, hn::MulAdd(hn::Mul(hn::Set(d, kGeluCubic), square), x, x));
    const F32Vec t = Tanh(d, u), half_x = hn::Mul(half, x), t1 = hn::Add(one, t);
    const F32Vec du = hn::Mul(c, hn::MulAdd(hn::Set(d, kGeluCubic3), square, one));
    return {hn::Mul(half_x, t1),
            hn::MulAdd(hn::Mul(half_x, hn::NegMulAdd(t, t, one)), du, hn::Mul(half, t1))};
  } else {
    const F32Vec erf = Erf(d, hn::Mul(x, hn::Set(d, kSqrtHalf))),
                 phi = hn::Mul(half, hn::Add(one, erf));
    const F32Vec bell = Exp(d, hn::Mul(hn::Set(d, -0.5f), hn::Mul(x, x)));
    return {hn::Mul(x, phi), hn::MulAdd(x, hn::Mul(hn::Set(d, kInvSqrt2Pi), bell), phi)};
  }
}

// Calls f.operator()<kKind>() for the activation at hand.
template <class F>
void with_activation(Activation kind, F f) {
  switch (kind) {
    case Activation::relu: return f.template operator()<Activation::relu>();
    case Activation::gelu_tanh: return f.template operator()<Activation::gelu_tanh>();
    case Activation::gelu_erf: return f.template operator()<Activation::gelu_erf>();
    case Activation::silu: return f.template operator()<Activation::silu>();
    case Activation::sigmoid: return f.template operator()<Activation::sigmoid>();
  }
}

void act_fwd(MatView y, MatView x, Activation kind) {
  with_activation(kind, [&]<Activation kKind>() HWY_ATTR {
    for_element_ranges({y, x}, [&](int64_t row, int64_t begin, int64_t end) HWY_ATTR {
      float* out = y.row<float>(row);
      const float* in = x.row<float>(row);
      for_each_vector(begin, end,
                      [&](auto at) HWY_ATTR { at.store(activate<kKind>(at.load(in)).value, out); });
    });
  });
}

void act_bwd(MatView dx, MatView dy, MatView x, Activation kind, bool accumulate) {
  with_activation(kind, [&]<Activation kKind>() HWY_ATTR {
    for_element_ranges({dx, dy, x}, [&](int64_t row, int64_t begin, int64_t end) HWY_ATTR {
      float* din = dx.row<float>(row);
      const float *dout = dy.row<float>(row), *in = x.row<float>(row);
      for_each_vector(begin, end, [&](auto at) HWY_ATTR {
        const F32Vec old = accumulate ? at.load(din) : hn::Zero(F32());
        at.store(hn::MulAdd(at.load(dout), activate<kKind>(at.load(in)).slope, old), din);
      });
    });
  });
}

// f(at, gate) over the columns of one row of h: `gate` is the position of the gate in the
// alternating panels of gu, and `gate.shifted(16)` that of its partner. No vector crosses a panel,
// as panels are 16 wide.
template <class F>
HWY_INLINE void for_each_gate(int64_t columns, F f) {
  for_each_vector(0, columns, [&](auto at) HWY_ATTR { f(at, at.shifted(at.i / 16 * 16)); });
}

// The columns of the last pair of panels that hold no gate and no partner become 0.
void clear_pads(float* gu_row, int64_t columns) {
  const int64_t tail = columns % 16;
  if (tail == 0) return;
  float* last = gu_row + columns / 16 * 32;
  std::fill(last + tail, last + 16, 0.0f);
  std::fill(last + 16 + tail, last + 32, 0.0f);
}

void gated_act_fwd(MatView h_RF, MatView gu, Activation kind) {
  with_activation(kind, [&]<Activation kKind>() HWY_ATTR {
    for_row_ranges(h_RF.rows, h_RF.cols, [&](int64_t begin, int64_t end) HWY_ATTR {
      for (int64_t r = begin; r < end; ++r) {
        float* h = h_RF.row<float>(r);
        const float* in = gu.row<float>(r);
        for_each_gate(h_RF.cols, [&](auto at, auto gate) HWY_ATTR {
          at.store(hn::Mul(activate<kKind>(gate.load(in)).value, gate.shifted(16).load(in)), h);
        });
      }
    });
  });
}

void gated_act_bwd(MatView dgu, MatView dh_RF, MatView gu, Activation kind, bool accumulate) {
  with_activation(kind, [&]<Activation kKind>() HWY_ATTR {
    for_row_ranges(dh_RF.rows, dh_RF.cols, [&](int64_t begin, int64_t end) HWY_ATTR {
      for (int64_t r = begin; r < end; ++r) {
        const float *dh_row = dh_RF.row<float>(r), *in = gu.row<float>(r);
        float* din = dgu.row<float>(r);
        for_each_gate(dh_RF.cols, [&](auto at, auto gate) HWY_ATTR {
          const auto up = gate.shifted(16);
          const F32Vec dh = at.load(dh_row);
          const ValueAndSlope f = activate<kKind>(gate.load(in));
          const F32Vec zero = hn::Zero(F32()), old_gate = accumulate ? gate.load(din) : zero,
                       old_up = accumulate ? up.load(din) : zero;
          gate.store(hn::MulAdd(hn::Mul(dh, up.load(in)), f.slope, old_gate), din);
          up.store(hn::MulAdd(dh, f.value, old_up), din);
        });
        if (!accumulate) clear_pads(din, dh_RF.cols);
      }
    });
  });
}

// One row: `in` becomes its gradient, `dh` the value; with a weight, both of the weighted row, and
// the weight's own gradient is returned.
template <Activation kKind, bool kGated, bool kWeighted>
HWY_INLINE float backward_and_value(float* in, float* dh_row, int64_t columns, float weight) {
  const F32 d;
  const F32Vec zero = hn::Zero(d), w = hn::Set(d, weight);
  return reduce_row(columns, [&](F32Vec lane, auto at) HWY_ATTR {
    const auto gate = at.shifted(kGated ? at.i / 16 * 16 : 0), partner = gate.shifted(16);
    F32Vec dh = at.load(dh_row), up = zero;
    const ValueAndSlope f = activate<kKind>(gate.load(in));
    F32Vec value = f.value;
    if constexpr (kGated) {
      up = partner.load(in);
      value = hn::Mul(value, up);
    }
    if constexpr (kWeighted) {
      lane = hn::MulAdd(value, dh, lane);
      dh = hn::Mul(w, dh);
      value = hn::Mul(w, value);
    }
    if constexpr (kGated) {
      gate.store(hn::MulAdd(hn::Mul(dh, up), f.slope, zero), in);
      partner.store(hn::MulAdd(dh, f.value, zero), in);
    } else {
      gate.store(hn::MulAdd(dh, f.slope, zero), in);
    }
    at.store(value, dh_row);
    return lane;
  });
}

template <bool kGated>
void backward_and_value(MatView in, MatView dh_RF, Activation kind, MatView w_R1, MatView dw_R1) {
  with_activation(kind, [&]<Activation kKind>() HWY_ATTR {
    for_row_ranges(dh_RF.rows, dh_RF.cols, [&](int64_t begin, int64_t end) HWY_ATTR {
      for (int64_t r = begin; r < end; ++r) {
        float *dh_row = dh_RF.row<float>(r), *in_row = in.row<float>(r);
        if (w_R1) {
          const float dot = backward_and_value<kKind, kGated, true>(in_row, dh_row, dh_RF.cols,
                                                                    w_R1.at<float>(r, 0));
          if (dw_R1) dw_R1.at<float>(r, 0) = dw_R1.at<float>(r, 0) + dot;
        } else {
          backward_and_value<kKind, kGated, false>(in_row, dh_row, dh_RF.cols, 1);
        }
        if (kGated) clear_pads(in_row, dh_RF.cols);
      }
    });
  });
}

void act_bwd_and_fwd(MatView x, MatView dy, Activation kind, MatView w_R1, MatView dw_R1) {
  backward_and_value<false>(x, dy, kind, w_R1, dw_R1);
}
void gated_act_bwd_and_fwd(MatView gu, MatView dh_RF, Activation kind, MatView w_R1,
                           MatView dw_R1) {
  backward_and_value<true>(gu, dh_RF, kind, w_R1, dw_R1);
}

}  // namespace

void install_activation(Kernels& k) {
  k.act_fwd = act_fwd;
  k.act_bwd = act_bwd;
  k.gated_act_fwd = gated_act_fwd;
  k.gated_act_bwd = gated_act_bwd;
  k.act_bwd_and_fwd = act_bwd_and_fwd;
  k.gated_act_bwd_and_fwd = gated_act_bwd_and_fwd;
}

}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET

#if HWY_ONCE
namespace moe {
MOE_DEFINE_CPU_INSTALL(cpu_install_activation, install_activation)
}  // namespace moe
#endif
