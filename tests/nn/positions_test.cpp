// SPDX-License-Identifier: MIT
// Position tables by their definitions; Llama 3's scaling is tied to transformers in
// tests/families.
#include "moe/nn/positions.h"

#include <cmath>
#include <gtest/gtest.h>

namespace moe {
namespace {

TEST(PositionTable, GrowsWithoutChangingWhatWasThere) {
  ModelConfig c;
  c.head_dim = 6;
  c.max_seq_len = 5000;
  const PositionTable cosines = rope_table(c, DType::f32).cos_PR;
  const Tensor first = cosines.rows(3);
  ASSERT_LT(first.size(0), 5000);
  const Tensor copy = first.clone(), all = cosines.rows(5000);
  EXPECT_EQ(all.shape().text(), "[5000, 3]");
  EXPECT_TRUE(same_bits(first, copy));
  EXPECT_TRUE(same_bits(all.rows(0, first.size(0)).clone(), first));
  EXPECT_EQ(cosines.rows(17).raw(), all.raw());  // nothing is made twice
  EXPECT_THROW(cosines.rows(5001), Error);
}

TEST(Rope, AnglesArePositionTimesInverseFrequency) {
  ModelConfig c;
  c.head_dim = 4;
  c.rope_theta = 100;
  const RopeTable table = rope_table(c, DType::f64);
  const Tensor cosines = table.cos_PR.rows(8), sines = table.sin_PR.rows(8);
  for (int64_t p = 0; p < 8; ++p) {
    EXPECT_DOUBLE_EQ(cosines.data<double>()[size_t(p * 2)], std::cos(double(p)));
    EXPECT_DOUBLE_EQ(sines.data<double>()[size_t(p * 2 + 1)], std::sin(double(p) / 10));
  }
}

TEST(Sinusoids, AlternateSineAndCosine) {
  const Tensor rows = sinusoidal_table(16, 4, DType::f64).rows(16);
  EXPECT_EQ(rows.data<double>()[0], 0);
  EXPECT_EQ(rows.data<double>()[1], 1);
  EXPECT_DOUBLE_EQ(rows.data<double>()[4 * 5], std::sin(5.0));
  EXPECT_DOUBLE_EQ(rows.data<double>()[4 * 5 + 3], std::cos(5.0 / 100));
}

TEST(Alibi, PowersOfTwoForAPowerOfTwoHeads) {
  const Tensor slopes = alibi_slopes(8, DType::f64);
  for (int64_t h = 0; h < 8; ++h)
    EXPECT_EQ(slopes.data<double>()[size_t(h)], std::exp2(-double(h + 1)));
}

// 6 heads: those of 4, then the first and third of 8.
TEST(Alibi, OtherHeadCountsTakeEveryOtherSlopeOfTwice) {
  const Tensor slopes = alibi_slopes(6, DType::f64);
  const std::vector<double> exponents = {-2, -4, -6, -8, -1, -3};
  for (size_t h = 0; h < 6; ++h) EXPECT_EQ(slopes.data<double>()[h], std::exp2(exponents[h]));
}

TEST(T5Buckets, ExactForNearAndLogarithmicForFarDistances) {
  const Tensor table = t5_buckets(32, 128);
  const std::span<const int32_t> bucket = table.data<int32_t>();
  ASSERT_EQ(bucket.size(), 129u);
  for (int32_t n = 0; n < 16; ++n) EXPECT_EQ(bucket[size_t(n)], n);
  // Halfway in the logarithm from 16 to 128 is 16 sqrt(8) = 45.3.
  EXPECT_EQ(bucket[45], 23);
  EXPECT_EQ(bucket[46], 24);
  EXPECT_EQ(bucket[127], 31);
  EXPECT_EQ(bucket[128], 31);
  EXPECT_TRUE(std::is_sorted(bucket.begin(), bucket.end()));
}

}  // namespace
}  // namespace moe
