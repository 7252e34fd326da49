// SPDX-License-Identifier: MIT
// Elementwise maps and scaling by rows or columns; elements or rows are split over threads, columns
// for dgamma.
#include "moe/kernels/cpu/frame.h"

// Per target from here on.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moe/kernels/cpu/elementwise.cpp"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#include "hwy/foreach_target.h"
// After foreach_target.h, which includes this file again.
#include "moe/kernels/cpu/lanes-inl.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {
namespace {

// y = f(a) or f(a, b), and y = f(a, y) where y goes on from its value; f works on vectors.
template <class F>
void map(MatView y, MatView a, F f) {
  for_element_ranges({y, a}, [&](int64_t row, int64_t begin, int64_t end) HWY_ATTR {
    float* out = y.row<float>(row);
    const float* in = a.row<float>(row);
    for_each_vector(begin, end,
                    [&](auto at) HWY_ATTR { at.store(f(at.load(in), at.load(out)), out); });
  });
}

template <class F>
void map(MatView y, MatView a, MatView b, F f) {
  for_element_ranges({y, a, b}, [&](int64_t row, int64_t begin, int64_t end) HWY_ATTR {
    float* out = y.row<float>(row);
    const float *in_a = a.row<float>(row), *in_b = b.row<float>(row);
    for_each_vector(begin, end, [&](auto at) HWY_ATTR {
      at.store(f(at.load(in_a), at.load(in_b), at.load(out)), out);
    });
  });
}

void add(MatView y, MatView a, MatView b) {
  map(y, a, b, [](F32Vec va, F32Vec vb, F32Vec) HWY_ATTR { return hn::Add(va, vb); });
}
void multiply(MatView y, MatView a, MatView b) {
  map(y, a, b, [](F32Vec va, F32Vec vb, F32Vec) HWY_ATTR { return hn::Mul(va, vb); });
}
void scale(MatView y, MatView a, double factor) {
  map(y, a,
      [s = hn::Set(F32(), float(factor))](F32Vec va, F32Vec) HWY_ATTR { return hn::Mul(va, s); });
}
void accumulate(MatView y, MatView a) {
  map(y, a, [](F32Vec va, F32Vec vy) HWY_ATTR { return hn::Add(vy, va); });
}
void multiply_accumulate(MatView y, MatView a, MatView b) {
  map(y, a, b, [](F32Vec va, F32Vec vb, F32Vec vy) HWY_ATTR { return hn::MulAdd(va, vb, vy); });
}
void scale_accumulate(MatView y, MatView a, double factor) {
  map(y, a, [s = hn::Set(F32(), float(factor))](F32Vec va, F32Vec vy) HWY_ATTR {
    return hn::MulAdd(va, s, vy);
  });
}

using U32 = hn::RebindToUnsigned<F32>;
using I32 = hn::RebindToSigned<F32>;
using U16 = hn::Rebind<uint16_t, F32>;
using F16 = hn::Rebind<hwy::float16_t, F32>;

// The bits of bf16 are the upper half of a float's: round, and make NaN quiet.
struct Bf16 {
  using Vec = hn::Vec<U32>;  // rounded, the lower half 0
  static HWY_INLINE Vec rounded(F32Vec v) {
    const Vec bits = hn::BitCast(U32(), v),
              odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(U32(), 1)),
              up = hn::Add(bits, hn::Add(odd, hn::Set(U32(), 0x7fff))),
              quiet = hn::Or(bits, hn::Set(U32(), 0x400000));
    return hn::And(hn::IfThenElse(hn::RebindMask(U32(), hn::IsNaN(v)), quiet, up),
                   hn::Set(U32(), 0xffff0000u));
  }
  static HWY_INLINE F32Vec round(F32Vec v) { return hn::BitCast(F32(), rounded(v)); }
  static HWY_INLINE void store(F32Vec v, uint16_t* to) {
    hn::StoreU(hn::DemoteTo(U16(), hn::BitCast(I32(), hn::ShiftRight<16>(rounded(v)))), U16(), to);
  }
  static HWY_INLINE F32Vec load(const uint16_t* from) {
    return hn::BitCast(F32(), hn::ShiftLeft<16>(hn::PromoteTo(U32(), hn::LoadU(U16(), from))));
  }
  static uint16_t narrow(float x) { return f32_to_bf16(x); }
  static float widen(uint16_t bits) { return bf16_to_f32(bits); }
};

// The processor's conversion, with the one NaN that f32_to_f16 makes.
struct Half {
  static HWY_INLINE hn::Vec<F16> rounded(F32Vec v) {
    const auto nan = hn::Or(hn::And(hn::BitCast(U32(), v), hn::Set(U32(), 0x80000000u)),
                            hn::Set(U32(), 0x7fc00000u));
    return hn::DemoteTo(F16(), hn::IfThenElse(hn::IsNaN(v), hn::BitCast(F32(), nan), v));
  }
  static HWY_INLINE F32Vec round(F32Vec v) { return hn::PromoteTo(F32(), rounded(v)); }
  static HWY_INLINE void store(F32Vec v, uint16_t* to) {
    hn::StoreU(rounded(v), F16(), reinterpret_cast<hwy::float16_t*>(to));
  }
  static HWY_INLINE F32Vec load(const uint16_t* from) {
    return hn::PromoteTo(F32(), hn::LoadU(F16(), reinterpret_cast<const hwy::float16_t*>(from)));
  }
  static uint16_t narrow(float x) { return f32_to_f16(x); }
  static float widen(uint16_t bits) { return f16_to_f32(bits); }
};

template <class Type>
void narrow_as(MatView y, MatView x) {
  for_element_ranges({y, x}, [&](int64_t row, int64_t i, int64_t end) HWY_ATTR {
    uint16_t* out = y.row<uint16_t>(row);
    const float* in = x.row<float>(row);
    for (; i + kLanes <= end; i += kLanes) Type::store(hn::LoadU(F32(), in + i), out + i);
    for (; i < end; ++i) out[i] = Type::narrow(in[i]);
  });
}
template <class Type>
void widen_from(MatView y, MatView x) {
  for_element_ranges({y, x}, [&](int64_t row, int64_t i, int64_t end) HWY_ATTR {
    float* out = y.row<float>(row);
    const uint16_t* in = x.row<uint16_t>(row);
    for (; i + kLanes <= end; i += kLanes) hn::StoreU(Type::load(in + i), F32(), out + i);
    for (; i < end; ++i) out[i] = Type::widen(in[i]);
  });
}

void narrow(MatView y, MatView x) {
  (y.dtype == DType::bf16 ? narrow_as<Bf16> : narrow_as<Half>)(y, x);
}
void widen(MatView y, MatView x) {
  (x.dtype == DType::bf16 ? widen_from<Bf16> : widen_from<Half>)(y, x);
}
void round_to(MatView y, MatView x, DType type) {
  if (type == DType::bf16)
    map(y, x, [](F32Vec v, F32Vec) HWY_ATTR { return Bf16::round(v); });
  else
    map(y, x, [](F32Vec v, F32Vec) HWY_ATTR { return Half::round(v); });
}

void scale_columns_fwd(MatView y, MatView x, MatView gamma_1D) {
  const float* gamma = gamma_1D.row<float>(0);
  for_row_ranges(y.rows, y.cols, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      float* out = y.row<float>(t);
      const float* in = x.row<float>(t);
      for_each_vector(0, y.cols, [&](auto at) HWY_ATTR {
        at.store(hn::Mul(at.load(in), at.load(gamma)), out);
      });
    }
  });
}

void scale_columns_bwd(MatView dx, MatView dgamma_1D, MatView dy, MatView x, MatView gamma_1D) {
  const float* gamma = gamma_1D.row<float>(0);
  for_row_ranges(x.rows, x.cols, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      float* din = dx.row<float>(t);
      const float* dout = dy.row<float>(t);
      for_each_vector(0, x.cols, [&](auto at) HWY_ATTR {
        at.store(hn::MulAdd(at.load(dout), at.load(gamma), at.load(din)), din);
      });
    }
  });
  for_column_ranges(x.cols, x.rows, [&](int64_t begin, int64_t end) HWY_ATTR {
    column_chains(dgamma_1D.row<float>(0), begin, end, x.rows,
                  [&](F32Vec dgamma, int64_t t, auto at) HWY_ATTR {
                    return hn::MulAdd(at.load(dy.row<float>(t)), at.load(x.row<float>(t)), dgamma);
                  });
  });
}

void scale_rows_fwd(MatView y, MatView x, MatView w_T1) {
  for_row_ranges(y.rows, y.cols, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      float* out = y.row<float>(t);
      const float* in = x.row<float>(t);
      const F32Vec w = hn::Set(F32(), w_T1.at<float>(t, 0));
      for_each_vector(0, y.cols, [&](auto at) HWY_ATTR { at.store(hn::Mul(w, at.load(in)), out); });
    }
  });
}

void scale_rows_bwd(MatView dx, MatView dw_T1, MatView dy, MatView x, MatView w_T1) {
  for_row_ranges(x.rows, x.cols, [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t t = begin; t < end; ++t) {
      float *din = dx.row<float>(t), *dw = dw_T1.row<float>(t);
      const float *dout = dy.row<float>(t), *in = x.row<float>(t);
      const F32Vec w = hn::Set(F32(), w_T1.at<float>(t, 0));
      for_each_vector(0, x.cols, [&](auto at) HWY_ATTR {
        at.store(hn::MulAdd(w, at.load(dout), at.load(din)), din);
      });
      const float dot = reduce_row(x.cols, [&](F32Vec lane, auto at) HWY_ATTR {
        return hn::MulAdd(at.load(dout), at.load(in), lane);
      });
      *dw = *dw + dot;
    }
  });
}

}  // namespace

void install_elementwise(Kernels& k) {
  k.add = add;
  k.multiply = multiply;
  k.scale = scale;
  k.accumulate = accumulate;
  k.multiply_accumulate = multiply_accumulate;
  k.scale_accumulate = scale_accumulate;
  k.narrow = narrow;
  k.widen = widen;
  k.round_to = round_to;
  k.scale_columns_fwd = scale_columns_fwd;
  k.scale_columns_bwd = scale_columns_bwd;
  k.scale_rows_fwd = scale_rows_fwd;
  k.scale_rows_bwd = scale_rows_bwd;
}

}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET

#if HWY_ONCE
namespace moe {
MOE_DEFINE_CPU_INSTALL(cpu_install_elementwise, install_elementwise)
}  // namespace moe
#endif
