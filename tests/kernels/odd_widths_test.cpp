// SPDX-License-Identifier: MIT
// Row movers, top-k and embedding in widths just beside those of registers and cache lines, bit for
// bit the reference's.
#include <cmath>
#include <vector>

#include "tables.h"

namespace moe::testing {
namespace {

constexpr int64_t kGap = 5;  // unused floats before each row

MatView rows_of(const Guarded<float>& x, int64_t rows, int64_t cols) {
  return x.view(rows, cols, cols + kGap);
}

TEST(OddWidths, GatherAndScatterMatchTheReference) {
  for (const int64_t D : {17, 65, 127})
    for (const int64_t R : {1, 3, 127}) {
      SCOPED_TRACE(str("D ", D, " R ", R));
      std::vector<int32_t> rows;
      for (int64_t r = 0; r < R; ++r) rows.push_back(int32_t(r * 5 % 7));
      const Guarded<float> x = random_floats(7 * (D + kGap), 1, Fill::special),
                           y = random_floats(R * (D + kGap), 2, Fill::special);
      const auto gather = [&](const Kernels& k) {
        Guarded<float> out = y;
        k.gather_rows(rows_of(out, R, D), rows_of(x, 7, D), rows);
        return out;
      };
      const auto scatter = [&](const Kernels& k) {
        Guarded<float> out = x;
        k.scatter_add_rows(rows_of(out, 7, D), rows_of(y, R, D), rows);
        return out;
      };
      const Guarded<float> gathered = gather(ref_kernels<float>()),
                           scattered = scatter(ref_kernels<float>());
      for_each_table_and_threads([&](const Kernels& k) {
        expect_same(gather(k), gathered, "gathered");
        expect_same(scatter(k), scattered, "scattered");
      });
    }
}

TEST(OddWidths, TopKMatchesTheReference) {
  for (const int64_t E : {3, 17, 63, 127})
    for (const int64_t k_experts : {int64_t(1), int64_t(3), (E + 1) / 2, E}) {
      constexpr int64_t T = 65;
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

TEST(OddWidths, EmbeddingMatchesTheReference) {
  for (const int64_t D : {3, 17, 127})
    for (const int64_t V : {1, 17, 130}) {
      SCOPED_TRACE(str("D ", D, " V ", V));
      constexpr int64_t T = 63;
      const PanelMap map{.rows = V, .cols = D};
      std::vector<int32_t> ids;
      for (int64_t t = 0; t < T; ++t) ids.push_back(int32_t(t * t % V));
      Guarded<float> w = random_floats(map.stored_numel(), 1, Fill::special);
      for (int64_t row = V; row < map.stored_rows(); ++row)  // pads are 0
        for (int64_t d = 0; d < D; ++d) w[row / 16 * 16 * D + d * 16 + row % 16] = 0;
      const Guarded<float> dy = random_floats(T * (D + kGap), 2);
      const auto panels = [&](const Guarded<float>& numbers) {
        return PanelView{numbers.data(), DType::f32, 1, map};
      };
      const auto forward = [&](const Kernels& k) {
        Guarded<float> y = random_floats(T * (D + kGap), 3);
        k.embedding_fwd(rows_of(y, T, D), panels(w), ids);
        return y;
      };
      const auto backward = [&](const Kernels& k) {
        Guarded<float> dw = w;  // the chain goes on from what is there
        k.embedding_bwd(panels(dw), rows_of(dy, T, D), ids);
        return dw;
      };
      const Guarded<float> y = forward(ref_kernels<float>()), dw = backward(ref_kernels<float>());
      for_each_table_and_threads([&](const Kernels& k) {
        expect_same(forward(k), y, "y");
        expect_same(backward(k), dw, "dw");
      });
    }
}

}  // namespace
}  // namespace moe::testing
