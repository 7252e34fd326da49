// SPDX-License-Identifier: MIT
// The fast row movers against ref<float>, bit for bit: gather, scatter, combine and top-k.
#include <algorithm>
#include <cmath>
#include <vector>

#include "tables.h"

namespace moe::testing {
namespace {

constexpr int64_t kGap = 3;  // unused floats before each row

MatView rows_of(const Guarded<float>& x, int64_t rows, int64_t cols) {
  return x.view(rows, cols, cols + kGap);
}

TEST(RowKernels, GatherMatchesTheReference) {
  for (const int64_t D : {1, 3, 16, 63, 130})
    for (const int64_t R : {0, 1, 5, 400}) {
      std::vector<int32_t> rows;
      for (int64_t r = 0; r < R; ++r) rows.push_back(int32_t(r * 5 % 7));
      const Guarded<float> x = random_floats(7 * (D + kGap), 1, Fill::special);
      const auto run = [&](const Kernels& k) {
        Guarded<float> y = random_floats(R * (D + kGap), 2);
        k.gather_rows(rows_of(y, R, D), rows_of(x, 7, D), rows);
        return y;
      };
      const Guarded<float> want = run(ref_kernels<float>());
      for_each_table_and_threads(
          [&](const Kernels& k) { expect_same(run(k), want, "gathered rows"); });
    }
}

TEST(RowKernels, ScatterAddsRowsThatShareATargetInOrder) {
  for (const int64_t D : {1, 3, 16, 63, 130})
    for (const int64_t R : {0, 1, 5, 700}) {
      std::vector<int32_t> rows;
      for (int64_t r = 0; r < R; ++r) rows.push_back(int32_t(r * r % 7));
      const Guarded<float> y =
          random_floats(R * (D + kGap), 1, D == 16 ? Fill::special : Fill::normal);
      const auto run = [&](const Kernels& k) {
        Guarded<float> x = random_floats(7 * (D + kGap), 2);
        k.scatter_add_rows(rows_of(x, 7, D), rows_of(y, R, D), rows);
        return x;
      };
      const Guarded<float> want = run(ref_kernels<float>());
      for_each_table_and_threads([&](const Kernels& k) { expect_same(run(k), want, "sums"); });
    }
}

/// Tokens with 0, 1, 2 ... 4 assignments; their rows lie in another order.
struct CombineOperands {
  int64_t T, D, n = 0;
  std::vector<int32_t> token_offsets{0}, row_of;
  Guarded<float> y, rows, w, drows, dw;

  CombineOperands(int64_t tokens, int64_t width, Fill fill) : T(tokens), D(width) {
    for (int64_t t = 0; t < T; ++t) token_offsets.push_back(int32_t(n += (t * 3 + 2) % 5));
    for (int64_t i = 0; i < n; ++i) row_of.push_back(int32_t(n - 1 - i));
    y = random_floats(T * (D + kGap), 1, fill);
    rows = random_floats(n * (D + kGap), 2, fill);
    w = random_floats(n, 3, fill);
    drows = random_floats(n * (D + kGap), 4, fill);
    dw = random_floats(n, 5);
  }
  Combine args() const {
    return {rows_of(y, T, D), rows_of(rows, n, D),  w.view(1, n, n), token_offsets,
            row_of,           rows_of(drows, n, D), dw.view(1, n, n)};
  }
};

TEST(RowKernels, CombineAndItsGradientsMatchTheReference) {
  for (const Fill fill : {Fill::normal, Fill::special})
    for (const int64_t D : {1, 3, 16, 17, 63, 64, 65, 127, 200})
      for (const int64_t T : {0, 1, 150}) {
        SCOPED_TRACE(str("D ", D, " T ", T));
        const CombineOperands inputs(T, D, fill);
        CombineOperands forward = inputs, backward = inputs;
        ref_kernels<float>().combine_fwd(forward.args());
        ref_kernels<float>().combine_bwd(backward.args());
        for_each_table_and_threads([&](const Kernels& k) {
          CombineOperands got = inputs;
          k.combine_fwd(got.args());
          expect_same(got.y, forward.y, "y");
          got = inputs;
          k.combine_bwd(got.args());
          expect_same(got.drows, backward.drows, "drows");
          expect_same(got.dw, backward.dw, "dw");
        });
      }
}

TEST(RowKernels, TopKMatchesTheReferenceForTiesAndNaNs) {
  for (const int64_t E : {1, 2, 7, 16, 65})
    for (const int64_t k_experts : {int64_t(1), int64_t(2), int64_t(6), E}) {
      if (k_experts > E) continue;
      constexpr int64_t T = 300;
      Guarded<float> z = random_floats(T * (E + kGap), 1, Fill::special);
      for (int64_t i = 0; i < z.size(); i += 2) z[i] = std::round(z[i] * 2);  // many ties
      const auto run = [&](const Kernels& k) {
        std::vector<int32_t> index(size_t(T * k_experts), -7);
        k.top_k(index, rows_of(z, T, E), k_experts);
        return index;
      };
      const std::vector<int32_t> want = run(ref_kernels<float>());
      for_each_table_and_threads(
          [&](const Kernels& k) { EXPECT_EQ(run(k), want) << "E " << E << " k " << k_experts; });
    }
}

TEST(RowKernels, TopKTakesTheLowerIndexOfATieAndNaNLast) {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              inf = std::numeric_limits<float>::infinity();
  Guarded<float> z(6);
  std::ranges::copy(std::vector<float>{nan, 1, -inf, 1, nan, 2}, z.begin());
  for_each_table([&](const Kernels& k) {
    std::vector<int32_t> index(6);
    k.top_k(index, z.view(1, 6, 6), 6);
    EXPECT_EQ(index, (std::vector<int32_t>{5, 1, 3, 2, 0, 4}));
  });
}

}  // namespace
}  // namespace moe::testing
