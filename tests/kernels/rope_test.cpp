// SPDX-License-Identifier: MIT
// RoPE: the fast tables are the reference bit for bit; the reference is the published rotation,
// orthogonal, and its backward is its transpose.
#include <cmath>
#include <gtest/gtest.h>
#include <vector>

#include "tables.h"

namespace moe {
namespace {

using testing::expect_same;
using testing::Fill;
using testing::Guarded;
using testing::random_floats;

// cos and sin of position / theta^(2 i / rotary_dim), as docs/NUMERICS.md makes them: in double,
// rounded once.
template <class T>
struct Angles {
  int64_t positions, half;
  Guarded<T> cos, sin;
  Angles(int64_t n, int64_t rotary_dim, double theta)
      : positions(n), half(rotary_dim / 2), cos(n * half), sin(n * half) {
    for (int64_t p = 0; p < n; ++p)
      for (int64_t i = 0; i < half; ++i) {
        const double angle = double(p) * std::pow(theta, -2.0 * double(i) / double(rotary_dim));
        cos[p * half + i] = T(std::cos(angle));
        sin[p * half + i] = T(std::sin(angle));
      }
  }
  Rope rope(std::span<const int32_t> positions_T, int64_t heads, int64_t head_dim,
            bool interleaved) const {
    return {cos.view(positions, half, half),
            sin.view(positions, half, half),
            positions_T,
            heads,
            head_dim,
            2 * half,
            interleaved};
  }
};

TEST(Rope, EveryTableEqualsReference) {
  struct Case {
    int64_t heads, head_dim, rotary_dim;
  };
  const Case cases[] = {{1, 2, 2},   {3, 6, 6},    {2, 16, 16}, {6, 64, 64}, {2, 34, 34},
                        {2, 80, 20}, {1, 128, 96}, {3, 5, 4},   {2, 9, 0}};
  for (const Case& c : cases)
    for (const bool interleaved : {false, true})
      for (const int64_t n : {1, 17, 127}) {
        SCOPED_TRACE(str("heads ", c.heads, " head_dim ", c.head_dim, " rotary_dim ", c.rotary_dim,
                         " interleaved ", interleaved, " n ", n));
        const Angles<float> angles(50, c.rotary_dim, 1e4);
        std::vector<int32_t> positions;
        for (int64_t t = 0; t < n; ++t) positions.push_back(int32_t((t * 7 + 3) % 50));
        const Rope rope = angles.rope(positions, c.heads, c.head_dim, interleaved);
        const int64_t width = c.heads * c.head_dim, gap = 3;  // cut out of a fused row
        const Guarded<float> x = random_floats(n * (width + gap), 1, Fill::special);
        const Guarded<float> old = random_floats(n * (width + gap), 2);
        auto view = [&](const Guarded<float>& m) { return m.view(n, width, width + gap); };
        auto run = [&](const Kernels& k) {
          std::vector<Guarded<float>> out{old, old, x};
          k.rope_fwd(view(out[0]), view(x), rope);
          k.rope_bwd(view(out[1]), view(x), rope);
          k.rope_fwd(view(out[2]), view(out[2]), rope);  // in place
          return out;
        };
        const auto want = run(ref_kernels<float>());
        testing::for_each_table_and_threads([&](const Kernels& k) {
          const auto got = run(k);
          expect_same(got[0], want[0], "forward");
          expect_same(got[1], want[1], "backward");
          expect_same(got[2], want[2], "in place");
        });
      }
}

TEST(Rope, EveryTableEqualsReferenceOnRowsEnoughForAllThreads) {
  const Angles<float> angles(1000, 64, 1e4);
  std::vector<int32_t> positions(1000);
  for (int32_t t = 0; t < 1000; ++t) positions[size_t(t)] = t;
  const Guarded<float> x = random_floats(1000 * 384, 1);
  const Rope rope = angles.rope(positions, 6, 64, false);
  Guarded<float> want(x.size());
  ref_kernels<float>().rope_fwd(want.view(1000, 384, 384), x.view(1000, 384, 384), rope);
  testing::for_each_table_and_threads([&](const Kernels& k) {
    Guarded<float> got(x.size());
    k.rope_fwd(got.view(1000, 384, 384), x.view(1000, 384, 384), rope);
    expect_same(got, want, "forward");
  });
}

// x = 1 ... 8 at position 3, theta 10,000: rotate_half of Hugging Face's Llama, and the pairs (2i,
// 2i + 1) of Meta's checkpoints, both in float64. A wrong convention is invisible to every
// self-consistency test and to training from scratch.
TEST(Rope, BothConventionsRotateAsPublished) {
  const double half[8] = {-1.695592537, .137551738,  2.788681600, 3.975982036,
                          -4.808842475, 6.323059348, 7.086836737, 8.011963982};
  const double pairs[8] = {-1.272232513, -1.838864985, 1.683928641, 4.707906576,
                           4.817777168,  6.147277704,  6.975968536, 8.020963969};
  const Angles<double> angles(4, 8, 1e4);
  const int32_t position[1] = {3};
  Guarded<double> x(8), y(8);
  for (int i = 0; i < 8; ++i) x[i] = i + 1;
  for (const bool interleaved : {false, true}) {
    ref_kernels<double>().rope_fwd(y.view(1, 8, 8), x.view(1, 8, 8),
                                   angles.rope(position, 1, 8, interleaved));
    for (int i = 0; i < 8; ++i)
      EXPECT_NEAR(y[i], (interleaved ? pairs : half)[i], 1e-9)
          << i;  // nine decimals are written above
  }
}

TEST(Rope, BackwardIsTheTransposeOfForwardAndRotatesBack) {
  const Angles<double> angles(40, 12, 500);
  const int32_t positions[3] = {39, 0, 7};
  for (const bool interleaved : {false, true}) {
    const Rope rope = angles.rope(positions, 2, 16, interleaved);
    const RngStream rng(5, 0, "rope");
    Guarded<double> x(96), y(96), dy(96), dx(96), back(96);
    for (int64_t i = 0; i < 96; ++i) x[i] = rng.normal(i, 0), dy[i] = rng.normal(i, 1);
    auto view = [](const Guarded<double>& m) { return m.view(3, 32, 32); };
    const Kernels& k = ref_kernels<double>();
    k.rope_fwd(view(y), view(x), rope);
    k.rope_bwd(view(dx), view(dy), rope);
    k.rope_bwd(view(back), view(y), rope);
    double y_dy = 0, x_dx = 0;
    for (int64_t i = 0; i < 96; ++i) {
      y_dy += y[i] * dy[i];
      x_dx += x[i] * dx[i];
      EXPECT_NEAR(back[i], x[i], 1e-14);  // a few roundings of numbers near 1
    }
    EXPECT_NEAR(y_dy, x_dx, 1e-12);
  }
}

}  // namespace
}  // namespace moe
