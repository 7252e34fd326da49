// SPDX-License-Identifier: MIT
// RMSNorm and LayerNorm: fast tables against the reference, the reference against central
// differences and torch.
#include "row_testing.h"

namespace moe::testing {
namespace {

void rms_norm_equals_reference(const Shape2& s, int64_t groups) {
  const int64_t wide = s.cols * groups;
  expect_reference(
      {random_matrix(s.rows, wide, s.gap, 1), random_matrix(s.rows, groups, s.gap, 2),
       random_matrix(s.rows, wide, s.gap, 3, s.fill), random_matrix(1, s.cols, 0, 4, s.fill),
       random_matrix(s.rows, wide, s.gap, 5, s.fill), random_matrix(s.rows, wide, s.gap, 6),
       random_matrix(1, s.cols, 0, 7)},
      [&](const Kernels& k, const std::vector<MatView>& v) {
        k.rms_norm_fwd(v[0], v[1], v[2], v[3], groups, 1e-5);
        k.rms_norm_bwd(v[5], v[6], v[4], v[2], v[1], v[3], groups);
      });
}

void layer_norm_equals_reference(const Shape2& s, bool bias) {
  expect_reference(
      {random_matrix(s.rows, s.cols, s.gap, 1), random_matrix(s.rows, 1, 0, 2),
       random_matrix(s.rows, 1, s.gap, 3), random_matrix(s.rows, s.cols, s.gap, 4, s.fill),
       random_matrix(1, s.cols, 0, 5, s.fill), random_matrix(1, s.cols, 0, 6, s.fill),
       random_matrix(s.rows, s.cols, s.gap, 7, s.fill), random_matrix(s.rows, s.cols, s.gap, 8),
       random_matrix(1, s.cols, 0, 9), random_matrix(1, s.cols, 0, 10)},
      [&](const Kernels& k, const std::vector<MatView>& v) {
        k.layer_norm_fwd(v[0], v[1], v[2], v[3], v[4], bias ? v[5] : MatView{}, 1e-6);
        k.layer_norm_bwd(v[7], v[8], bias ? v[9] : MatView{}, v[6], v[3], v[1], v[2], v[4]);
      });
}

TEST(RmsNorm, EveryTableEqualsReference) {
  for_each_shape([](const Shape2& s) {
    for (const int64_t groups : {1, 4}) rms_norm_equals_reference(s, groups);
  });
}

TEST(RmsNorm, BitsDoNotDependOnThreads) {
  for_each_threaded_shape([](const Shape2& s) {
    for (const int64_t groups : {1, 4}) rms_norm_equals_reference(s, groups);
  });
}

TEST(LayerNorm, EveryTableEqualsReference) {
  for_each_shape([](const Shape2& s) {
    for (const bool bias : {false, true}) layer_norm_equals_reference(s, bias);
  });
}

TEST(LayerNorm, BitsDoNotDependOnThreads) {
  for_each_threaded_shape([](const Shape2& s) { layer_norm_equals_reference(s, true); });
}

TEST(RmsNorm, InPlaceHasTheSameBits) {
  const auto x = random_matrix(5, 3 * 37, 0, 1), w = random_matrix(1, 37, 0, 2);
  for_each_table([&](const Kernels& k) {
    Matrix<float> y(5, 3 * 37), rstd(5, 3), in_place = x;
    k.rms_norm_fwd(y.view(), rstd.view(), x.view(), w.view(), 3, 1e-5);
    k.rms_norm_fwd(in_place.view(), rstd.view(), in_place.view(), w.view(), 3, 1e-5);
    expect_same(in_place.numbers, y.numbers, "y");
  });
}

TEST(RmsNorm, GradientsMatchCentralDifferences) {
  const Kernels& k = ref_kernels<double>();
  for (const int64_t groups : {1, 4}) {
    const int64_t n = 7;
    const auto x = normal_matrix(3, groups * n, 1), w = normal_matrix(1, n, 2),
               dy = normal_matrix(3, groups * n, 3);
    Matrix<double> y(3, groups * n), rstd(3, groups), dx(3, groups * n), dw(1, n);
    const auto loss = [&] {
      k.rms_norm_fwd(y.view(), rstd.view(), x.view(), w.view(), groups, 1e-2);
      return dot(y, dy);
    };
    loss();
    k.rms_norm_bwd(dx.view(), dw.view(), dy.view(), x.view(), rstd.view(), w.view(), groups);
    expect_gradient(dx, x, loss, "dx");
    expect_gradient(dw, w, loss, "dw");
  }
}

TEST(LayerNorm, GradientsMatchCentralDifferences) {
  const Kernels& k = ref_kernels<double>();
  for (const bool bias : {false, true}) {
    const auto x = normal_matrix(3, 9, 1), w = normal_matrix(1, 9, 2), b = normal_matrix(1, 9, 3),
               dy = normal_matrix(3, 9, 4);
    Matrix<double> y(3, 9), mean(3, 1), rstd(3, 1), dx(3, 9), dw(1, 9), db(1, 9);
    const auto loss = [&] {
      k.layer_norm_fwd(y.view(), mean.view(), rstd.view(), x.view(), w.view(),
                       bias ? b.view() : MatView{}, 1e-2);
      return dot(y, dy);
    };
    loss();
    k.layer_norm_bwd(dx.view(), dw.view(), bias ? db.view() : MatView{}, dy.view(), x.view(),
                     mean.view(), rstd.view(), w.view());
    expect_gradient(dx, x, loss, "dx");
    expect_gradient(dw, w, loss, "dw");
    if (bias) expect_gradient(db, b, loss, "db");
  }
}

template <class T>
void norms_are_torchs() {
  const Kernels& k = ref_kernels<T>();
  for (const char* name : {"rms_norm", "layer_norm", "layer_norm_bias"}) {
    const JsonObject& g = row_golden().at(name).as_object();
    const Matrix<T> x(1, 4, numbers_of(g.at("x"))), w(1, 4, numbers_of(g.at("w"))),
        b(1, 4, numbers_of(g.at("b"))), dy(1, 4, numbers_of(g.at("dy")));
    Matrix<T> y(1, 4), mean(1, 1), rstd(1, 1), dx(1, 4), dw(1, 4), db(1, 4);
    if (name == std::string("rms_norm")) {
      k.rms_norm_fwd(y.view(), rstd.view(), x.view(), w.view(), 1, 1e-5);
      k.rms_norm_bwd(dx.view(), dw.view(), dy.view(), x.view(), rstd.view(), w.view(), 1);
    } else {
      const bool bias = g.contains("db");
      k.layer_norm_fwd(y.view(), mean.view(), rstd.view(), x.view(), w.view(),
                       bias ? b.view() : MatView{}, 1e-5);
      k.layer_norm_bwd(dx.view(), dw.view(), bias ? db.view() : MatView{}, dy.view(), x.view(),
                       mean.view(), rstd.view(), w.view());
      if (bias) expect_golden(db, g.at("db"), "db");
    }
    expect_golden(y, g.at("y"), name);
    expect_golden(dx, g.at("dx"), name);
    expect_golden(dw, g.at("dw"), name);
  }
}

TEST(Norms, ValuesAndGradientsAreTorchs) {
  norms_are_torchs<double>();
  norms_are_torchs<float>();
}

TEST(RmsNorm, OfARowOfEqualNumbersIsTheSignTimesWeight) {
  for_each_table([](const Kernels& k) {
    Matrix<float> x(1, 64, std::vector<double>(64, -3.0)), y(1, 64), rstd(1, 1),
        w(1, 64, std::vector<double>(64, 2.0));
    k.rms_norm_fwd(y.view(), rstd.view(), x.view(), w.view(), 1, 0.0);
    // 1 / 3 is rounded once, times 3 again: at most one ulp.
    for (int64_t i = 0; i < 64; ++i) EXPECT_FLOAT_EQ(y.at(0, i), -2.0f);
  });
}

}  // namespace
}  // namespace moe::testing
