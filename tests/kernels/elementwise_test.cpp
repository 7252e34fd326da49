// SPDX-License-Identifier: MIT
// Elementwise maps and scaling by rows or columns: fast tables against the reference, the reference
// against plain arithmetic and central differences.
#include <bit>

#include "row_testing.h"

namespace moe::testing {
namespace {

struct Map {
  const char* name;
  void (*run)(const Kernels& k, MatView y, MatView a, MatView b);
  double (*value)(double y, double a, double b);
};
const Map kMaps[] = {
    {"add", [](const Kernels& k, MatView y, MatView a, MatView b) { k.add(y, a, b); },
     [](double, double a, double b) { return a + b; }},
    {"multiply", [](const Kernels& k, MatView y, MatView a, MatView b) { k.multiply(y, a, b); },
     [](double, double a, double b) { return a * b; }},
    {"scale", [](const Kernels& k, MatView y, MatView a, MatView) { k.scale(y, a, -1.7); },
     [](double, double a, double) { return a * -1.7; }},
    {"accumulate", [](const Kernels& k, MatView y, MatView a, MatView) { k.accumulate(y, a); },
     [](double y, double a, double) { return y + a; }},
    {"multiply_accumulate",
     [](const Kernels& k, MatView y, MatView a, MatView b) { k.multiply_accumulate(y, a, b); },
     [](double y, double a, double b) { return std::fma(a, b, y); }},
    {"scale_accumulate",
     [](const Kernels& k, MatView y, MatView a, MatView) { k.scale_accumulate(y, a, 0.3); },
     [](double y, double a, double) { return std::fma(a, 0.3, y); }},
};

void maps_equal_reference(const Shape2& s) {
  for (const Map& map : kMaps) {
    SCOPED_TRACE(map.name);
    expect_reference(
        {random_matrix(s.rows, s.cols, s.gap, 1, s.fill),
         random_matrix(s.rows, s.cols, s.gap, 2, s.fill),
         random_matrix(s.rows, s.cols, 0, 3, s.fill)},
        [&](const Kernels& k, const std::vector<MatView>& v) { map.run(k, v[0], v[1], v[2]); });
  }
}

// Operands: y, x, dx, dy, scale by row, its gradient, scale by column, its gradient.
void scalings_equal_reference(const Shape2& s) {
  expect_reference(
      {random_matrix(s.rows, s.cols, s.gap, 1), random_matrix(s.rows, s.cols, s.gap, 2, s.fill),
       random_matrix(s.rows, s.cols, s.gap, 3), random_matrix(s.rows, s.cols, s.gap, 4, s.fill),
       random_matrix(s.rows, 1, s.gap, 5, s.fill), random_matrix(s.rows, 1, s.gap, 6),
       random_matrix(1, s.cols, 0, 7, s.fill), random_matrix(1, s.cols, 0, 8)},
      [](const Kernels& k, const std::vector<MatView>& v) {
        k.scale_rows_fwd(v[0], v[1], v[4]);
        k.scale_rows_bwd(v[2], v[5], v[3], v[1], v[4]);
      });
  expect_reference(
      {random_matrix(s.rows, s.cols, s.gap, 1), random_matrix(s.rows, s.cols, s.gap, 2, s.fill),
       random_matrix(s.rows, s.cols, s.gap, 3), random_matrix(s.rows, s.cols, s.gap, 4, s.fill),
       random_matrix(1, s.cols, 0, 5, s.fill), random_matrix(1, s.cols, 0, 6)},
      [](const Kernels& k, const std::vector<MatView>& v) {
        k.scale_columns_fwd(v[0], v[1], v[4]);
        k.scale_columns_bwd(v[2], v[5], v[3], v[1], v[4]);
      });
}

TEST(Elementwise, EveryTableEqualsReference) { for_each_shape(maps_equal_reference); }
TEST(Elementwise, BitsDoNotDependOnThreads) { for_each_threaded_shape(maps_equal_reference); }
TEST(Scaling, EveryTableEqualsReference) { for_each_shape(scalings_equal_reference); }
TEST(Scaling, BitsDoNotDependOnThreads) { for_each_threaded_shape(scalings_equal_reference); }

TEST(Elementwise, ReferenceIsTheFormula) {
  for (const Map& map : kMaps) {
    const auto a = normal_matrix(3, 7, 1), b = normal_matrix(3, 7, 2),
               before = normal_matrix(3, 7, 3);
    auto y = before;
    map.run(ref_kernels<double>(), y.view(), a.view(), b.view());
    for (int64_t i = 0; i < y.numbers.size(); ++i)
      EXPECT_EQ(y.numbers[i], map.value(before.numbers[i], a.numbers[i], b.numbers[i])) << map.name;
  }
}

TEST(Elementwise, InPlaceHasTheSameBits) {
  const auto a = random_matrix(3, 37, 2, 1), b = random_matrix(3, 37, 2, 2);
  for (const Map& map : kMaps)
    for_each_table([&](const Kernels& k) {
      auto y = a, in_place = a;
      map.run(k, y.view(), a.view(), b.view());
      map.run(k, in_place.view(), in_place.view(), b.view());
      expect_same(in_place.numbers, y.numbers, map.name);
    });
}

// Every table's two-byte numbers against the scalar conversions, NaN and infinity among them.
void two_bytes_equal_scalars(const Shape2& s) {
  for (const DType type : {DType::bf16, DType::f16}) {
    const auto x = random_matrix(s.rows, s.cols, s.gap, 1, s.fill);
    const auto narrow = [&](float v) {
      return type == DType::bf16 ? f32_to_bf16(v) : f32_to_f16(v);
    };
    const auto wide = [&](uint16_t b) {
      return type == DType::bf16 ? bf16_to_f32(b) : f16_to_f32(b);
    };
    for_each_table([&](const Kernels& k) {
      Matrix<uint16_t> bits(s.rows, s.cols, s.gap);
      Matrix<float> back(s.rows, s.cols, s.gap), rounded(s.rows, s.cols, s.gap);
      MatView narrow_view = bits.view();
      narrow_view.dtype = type;
      k.narrow(narrow_view, x.view());
      k.widen(back.view(), narrow_view);
      k.round_to(rounded.view(), x.view(), type);
      for (int64_t r = 0; r < s.rows; ++r)
        for (int64_t c = 0; c < s.cols; ++c) {
          ASSERT_EQ(bits.at(r, c), narrow(x.at(r, c))) << k.name << " " << x.at(r, c);
          const uint32_t want = std::bit_cast<uint32_t>(wide(bits.at(r, c)));
          ASSERT_EQ(std::bit_cast<uint32_t>(back.at(r, c)), want) << k.name;
          ASSERT_EQ(std::bit_cast<uint32_t>(rounded.at(r, c)), want) << k.name;
        }
    });
  }
}

TEST(TwoBytes, EveryTableEqualsTheScalars) { for_each_shape(two_bytes_equal_scalars); }
TEST(TwoBytes, BitsDoNotDependOnThreads) { for_each_threaded_shape(two_bytes_equal_scalars); }

// All numbers of half a float: each is itself, and halfway between two neighbours the even one.
TEST(TwoBytes, HalfwaysGoToTheEvenOne) {
  Matrix<float> x(1, 3 * 0x7bff), y(1, 3 * 0x7bff);
  for (uint32_t b = 0; b < 0x7bff; ++b) {
    const float low = f16_to_f32(uint16_t(b)), high = f16_to_f32(uint16_t(b + 1));
    x.at(0, 3 * b) = low;
    x.at(0, 3 * b + 1) = low + (high - low) / 2;
    x.at(0, 3 * b + 2) = std::nextafter(low + (high - low) / 2, high);
  }
  for_each_table([&](const Kernels& k) {
    k.round_to(y.view(), x.view(), DType::f16);
    for (uint32_t b = 0; b < 0x7bff; ++b) {
      const float low = f16_to_f32(uint16_t(b)), high = f16_to_f32(uint16_t(b + 1));
      ASSERT_EQ(y.at(0, 3 * b), low);
      ASSERT_EQ(y.at(0, 3 * b + 1), b % 2 ? high : low);
      ASSERT_EQ(y.at(0, 3 * b + 2), high);
    }
  });
}

TEST(Scaling, GradientsMatchCentralDifferences) {
  const Kernels& k = ref_kernels<double>();
  const auto x = normal_matrix(4, 19, 1), w = normal_matrix(4, 1, 2),
             gamma = normal_matrix(1, 19, 3), dy = normal_matrix(4, 19, 4);
  Matrix<double> y(4, 19), dx_rows(4, 19), dw(4, 1), dx_columns(4, 19), dgamma(1, 19);
  const auto by_rows = [&] {
    k.scale_rows_fwd(y.view(), x.view(), w.view());
    return dot(y, dy);
  };
  const auto by_columns = [&] {
    k.scale_columns_fwd(y.view(), x.view(), gamma.view());
    return dot(y, dy);
  };
  k.scale_rows_bwd(dx_rows.view(), dw.view(), dy.view(), x.view(), w.view());
  k.scale_columns_bwd(dx_columns.view(), dgamma.view(), dy.view(), x.view(), gamma.view());
  expect_gradient(dx_rows, x, by_rows, "dx by rows");
  expect_gradient(dw, w, by_rows, "dw");
  expect_gradient(dx_columns, x, by_columns, "dx by columns");
  expect_gradient(dgamma, gamma, by_columns, "dgamma");
}

}  // namespace
}  // namespace moe::testing
