// SPDX-License-Identifier: MIT
#include "moe/tensor/tensor.h"

#include <algorithm>
#include <gtest/gtest.h>

#include "moe/base/error.h"

namespace moe {
namespace {

TEST(Panels, RowsComeBackAsTheyWentInForEveryLayout) {
  for (const int64_t rows : {2, 16, 18, 34, 64})
    for (const Layout layout : {Layout::row_major, Layout::panel16, Layout::panel16_gate_up}) {
      Tensor values = Tensor::empty({3, rows, 5}, DType::f32);
      for (size_t i = 0; i < values.data<float>().size(); ++i) values.data<float>()[i] = float(i);
      const Tensor stored = to_layout(values, layout);
      EXPECT_TRUE(same_bits(to_layout(stored, Layout::row_major), values)) << rows;
      EXPECT_EQ(read_rows(stored, 2, 1, 1).data<float>()[3], float((2 * rows + 1) * 5 + 3));
    }
}

TEST(Transposed, RowsBecomeColumnsForEveryElementSize) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    // 19 rows: more than the 16 that move at a time.
    const Tensor matrix = Tensor::empty({19, 3}, dtype);
    const int64_t bytes = dtype_bytes(dtype);
    for (int64_t i = 0; i < matrix.stored_bytes(); ++i) matrix.raw()[i] = std::byte(i % 251);
    const Tensor turned = transposed(matrix);
    ASSERT_EQ(turned.shape(), Shape({3, 19}));
    for (int64_t r = 0; r < 19; ++r)
      for (int64_t c = 0; c < 3; ++c)
        EXPECT_TRUE(std::equal(matrix.raw() + (r * 3 + c) * bytes,
                               matrix.raw() + (r * 3 + c + 1) * bytes,
                               turned.raw() + (c * 19 + r) * bytes))
            << r << ' ' << c;
    EXPECT_TRUE(same_bits(transposed(turned), matrix));
  }
  EXPECT_THROW(transposed(Tensor::empty({2, 3, 4}, DType::f32)), Error);
}

TEST(Panels, PadsAreZeroAndLieWhereTheMapSays) {
  const Tensor w = to_layout(Tensor::from<float>({6, 1}, std::vector<float>{1, 2, 3, 4, 5, 6}),
                             Layout::panel16_gate_up);
  const std::span<float> stored = w.data<float>();
  ASSERT_EQ(stored.size(), 32u);
  EXPECT_EQ(stored[0], 1);
  EXPECT_EQ(stored[16], 4);
  EXPECT_EQ(stored[3], 0);
  const PanelMap::Ranges ranges = w.panel_map().valid_ranges();
  ASSERT_EQ(ranges.count, 2);
  EXPECT_EQ(ranges.range[1][0], 16);
}

TEST(DType, NarrowFloatsRoundToEvenAndKeepNaN) {
  EXPECT_EQ(f32_to_bf16(1.0f), 0x3f80);
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x3f808000u)), 0x3f80);  // halfway, even stays
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x3f818000u)), 0x3f82);
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(NAN))));
  for (uint32_t bits = 0; bits < 65536; ++bits) {  // every half survives the way to float and back
    const float f = f16_to_f32(uint16_t(bits));
    if (std::isnan(f))
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(f))));
    else
      EXPECT_EQ(f32_to_f16(f), bits);
  }
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(f32_to_f16(0x1p-25f), 0);  // halfway to the smallest subnormal: even
}

TEST(Allocator, AReleasedBlockIsUsedAgain) {
  { const Tensor first = Tensor::empty({1000}, DType::f32); }
  const int64_t before = tensor_system_allocations();
  const Tensor second = Tensor::empty({1000}, DType::f32);
  EXPECT_EQ(tensor_system_allocations(), before);
}

TEST(Tensor, RefusesWrongTypesAndShapes) {
  const Tensor t = Tensor::zeros({2, 3}, DType::f32);
  EXPECT_THROW(t.data<double>(), Error);
  EXPECT_THROW(t.reshape({4}), Error);
  EXPECT_THROW(t.rows(1, 3), Error);
  EXPECT_THROW(Tensor::zeros({int64_t{1} << 40, int64_t{1} << 40}, DType::f32), Error);
}

}  // namespace
}  // namespace moe
