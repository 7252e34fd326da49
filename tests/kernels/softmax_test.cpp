// SPDX-License-Identifier: MIT
// Softmax and fused cross-entropy: fast tables against the reference, the reference against closed
// forms, central differences, torch.
#include "row_testing.h"

namespace moe::testing {
namespace {

void softmax_equals_reference(const Shape2& s) {
  expect_reference(
      {random_matrix(s.rows, s.cols, s.gap, 1), random_matrix(s.rows, s.cols, s.gap, 2, s.fill),
       random_matrix(s.rows, s.cols, s.gap, 3, s.fill), random_matrix(s.rows, s.cols, s.gap, 4)},
      [](const Kernels& k, const std::vector<MatView>& v) {
        k.softmax_fwd(v[0], v[1]);
        k.softmax_bwd(v[3], v[2], v[0]);
      });
}

// Some rows without a target, the others from the first column to the last.
std::vector<int32_t> some_targets(int64_t rows, int64_t cols) {
  std::vector<int32_t> targets;
  for (int64_t t = 0; t < rows; ++t)
    targets.push_back(t % 4 == 3 ? -1 : int32_t(t % 4 == 1 ? cols - 1 : t * 31 % cols));
  return targets;
}

void cross_entropy_equals_reference(const Shape2& s) {
  const std::vector<int32_t> targets = some_targets(s.rows, s.cols);
  expect_reference({random_matrix(s.rows, 1, s.gap, 1), random_matrix(s.rows, 1, 0, 2),
                    random_matrix(s.rows, 1, 0, 3), random_matrix(s.rows, s.cols, s.gap, 4, s.fill),
                    random_matrix(s.rows, s.cols, s.gap, 5)},
                   [&](const Kernels& k, const std::vector<MatView>& v) {
                     k.cross_entropy_fwd(v[0], v[1], v[2], v[3], targets);
                     k.cross_entropy_bwd(v[4], v[3], v[1], v[2], targets, 1.0 / 3);
                   });
}

TEST(Softmax, EveryTableEqualsReference) { for_each_shape(softmax_equals_reference); }
TEST(Softmax, BitsDoNotDependOnThreads) { for_each_threaded_shape(softmax_equals_reference); }
TEST(CrossEntropy, EveryTableEqualsReference) { for_each_shape(cross_entropy_equals_reference); }
TEST(CrossEntropy, BitsDoNotDependOnThreads) {
  for_each_threaded_shape(cross_entropy_equals_reference);
}

TEST(Softmax, InPlaceHasTheSameBits) {
  const auto z = random_matrix(3, 37, 2, 1);
  for_each_table([&](const Kernels& k) {
    auto p = z, in_place = z;
    k.softmax_fwd(p.view(), z.view());
    k.softmax_fwd(in_place.view(), in_place.view());
    expect_same(in_place.numbers, p.numbers, "p");
  });
}

TEST(Softmax, MaskedLogitsHaveProbabilityZeroAndALoneOneHasOne) {
  const double inf = std::numeric_limits<double>::infinity();
  for_each_table([&](const Kernels& k) {
    const Matrix<float> z(1, 5, {-inf, -inf, 2.5, -inf, -inf});
    Matrix<float> p(1, 5);
    k.softmax_fwd(p.view(), z.view());
    for (int64_t i = 0; i < 5; ++i) EXPECT_EQ(p.at(0, i), i == 2 ? 1.0f : 0.0f);
  });
}

TEST(Softmax, OneNaNMakesTheRowNaNAndNoOther) {
  for_each_table([&](const Kernels& k) {
    Matrix<float> z(2, 21), p(2, 21);
    z.at(0, 4) = std::numeric_limits<float>::quiet_NaN();
    k.softmax_fwd(p.view(), z.view());
    for (int64_t i = 0; i < 21; ++i) {
      EXPECT_TRUE(std::isnan(p.at(0, i)));
      EXPECT_EQ(p.at(1, i), 1.0f / 21);
    }
  });
}

TEST(CrossEntropy, OfUniformLogitsIsLogOfTheVocabulary) {
  for_each_table([](const Kernels& k) {
    for (const int64_t V : {1, 2, 17, 256, 4096}) {
      const Matrix<float> z(1, V, std::vector<double>(size_t(V), -7.25));
      Matrix<float> loss(1, 1), m(1, 1), sum(1, 1);
      k.cross_entropy_fwd(loss.view(), m.view(), sum.view(), z.view(), std::vector<int32_t>{0});
      EXPECT_EQ(m.at(0, 0), -7.25f);
      EXPECT_EQ(sum.at(0, 0), float(V));
      EXPECT_FLOAT_EQ(loss.at(0, 0), float(std::log(double(V))));
    }
  });
}

TEST(CrossEntropy, RowWithoutTargetHasLossZeroAndNoGradient) {
  for_each_table([](const Kernels& k) {
    const auto z = random_matrix(1, 19, 0, 1), before = random_matrix(1, 19, 0, 2);
    auto dz = before;
    Matrix<float> loss(1, 1, {5}), m(1, 1), sum(1, 1);
    k.cross_entropy_fwd(loss.view(), m.view(), sum.view(), z.view(), std::vector<int32_t>{-1});
    k.cross_entropy_bwd(dz.view(), z.view(), m.view(), sum.view(), std::vector<int32_t>{-1}, 1.0);
    EXPECT_EQ(loss.at(0, 0), 0.0f);
    expect_same(dz.numbers, before.numbers, "dz");
  });
}

TEST(Softmax, GradientsMatchCentralDifferences) {
  const Kernels& k = ref_kernels<double>();
  const auto z = normal_matrix(3, 19, 1), dp = normal_matrix(3, 19, 2);
  Matrix<double> p(3, 19), dz(3, 19);
  const auto loss = [&] {
    k.softmax_fwd(p.view(), z.view());
    return dot(p, dp);
  };
  loss();
  k.softmax_bwd(dz.view(), dp.view(), p.view());
  expect_gradient(dz, z, loss, "dz");
}

TEST(CrossEntropy, GradientsMatchCentralDifferences) {
  const Kernels& k = ref_kernels<double>();
  const auto z = normal_matrix(5, 19, 1);
  const std::vector<int32_t> targets = some_targets(5, 19);
  Matrix<double> losses(5, 1), m(5, 1), sum(5, 1), dz(5, 19);
  const auto loss = [&] {
    k.cross_entropy_fwd(losses.view(), m.view(), sum.view(), z.view(), targets);
    double total = 0;
    for (const double x : losses.numbers) total += x;
    return total * 0.25;
  };
  loss();
  k.cross_entropy_bwd(dz.view(), z.view(), m.view(), sum.view(), targets, 0.25);
  expect_gradient(dz, z, loss, "dz");
}

template <class T>
void losses_are_torchs() {
  const Kernels& k = ref_kernels<T>();
  const JsonObject& g = row_golden().at("losses").as_object();
  const std::vector<double> z_values = numbers_of(g.at("z"));
  const Matrix<T> z(3, 5, z_values), z0(1, 5, z_values), dp(1, 5, numbers_of(g.at("dp")));
  Matrix<T> loss(3, 1), m(3, 1), sum(3, 1), dz(3, 5), p(1, 5), softmax_dz(1, 5);
  std::vector<int32_t> targets;
  for (const double t : numbers_of(g.at("targets"))) targets.push_back(int32_t(t));
  k.cross_entropy_fwd(loss.view(), m.view(), sum.view(), z.view(), targets);
  k.cross_entropy_bwd(dz.view(), z.view(), m.view(), sum.view(), targets,
                      g.at("scale").to_number<double>());
  k.softmax_fwd(p.view(), z0.view());
  k.softmax_bwd(softmax_dz.view(), dp.view(), p.view());
  expect_golden(loss, g.at("loss"), "loss");
  expect_golden(dz, g.at("dz"), "dz");
  expect_golden(p, g.at("p"), "p");
  expect_golden(softmax_dz, g.at("softmax_dz"), "dz of softmax");
}

TEST(Softmax, ValuesAndGradientsAreTorchs) {
  losses_are_torchs<double>();
  losses_are_torchs<float>();
}

}  // namespace
}  // namespace moe::testing
