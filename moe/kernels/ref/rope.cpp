// SPDX-License-Identifier: MIT
// Rotary position embedding (Su et al. 2021, arXiv:2104.09864). A pair (a, b) becomes (a cos - b
// sin, b cos + a sin).
#include "moe/kernels/ref/ref.h"

namespace moe::ref {
namespace {

// out = rotated, or out += rotated; sign -1 rotates back (the backward of an orthogonal map).
template <class T, bool kAccumulate>
void rotate(MatView out, MatView in, const Rope& r, T sign) {
  const int64_t half = r.rotary_dim / 2;
  auto put = [](T& to, T value) { to = kAccumulate ? to + value : value; };
  for (int64_t t = 0; t < in.rows; ++t) {
    const int64_t position = r.positions_T[size_t(t)];
    for (int64_t h = 0; h < r.heads; ++h) {
      const T* x = in.row<T>(t) + h * r.head_dim;
      T* y = out.row<T>(t) + h * r.head_dim;
      for (int64_t i = 0; i < half; ++i) {
        const int64_t ia = r.interleaved ? 2 * i : i, ib = r.interleaved ? 2 * i + 1 : i + half;
        const T c = r.cos_PR.at<T>(position, i), s = r.sin_PR.at<T>(position, i) * sign, a = x[ia],
                b = x[ib];
        put(y[ia], std::fma(a, c, -(b * s)));
        put(y[ib], std::fma(b, c, a * s));
      }
      for (int64_t i = r.rotary_dim; i < r.head_dim; ++i) put(y[i], x[i]);
    }
  }
}

template <class T>
void rope_fwd(MatView y, MatView x, const Rope& r) {
  rotate<T, false>(y, x, r, T(1));
}
template <class T>
void rope_bwd(MatView dx, MatView dy, const Rope& r) {
  if (r.accumulate)
    rotate<T, true>(dx, dy, r, T(-1));
  else
    rotate<T, false>(dx, dy, r, T(-1));
}

}  // namespace

template <class T>
void install_rope(Kernels& k) {
  k.rope_fwd = rope_fwd<T>;
  k.rope_bwd = rope_bwd<T>;
}
template void install_rope<float>(Kernels&);
template void install_rope<double>(Kernels&);

}  // namespace moe::ref
