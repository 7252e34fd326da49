// SPDX-License-Identifier: MIT
// Activations and their gated forms: fast tables against the reference, the reference against
// central differences and torch.
#include "row_testing.h"

namespace moe::testing {
namespace {

struct Named {
  const char* name;
  Activation kind;
};
constexpr Named kActivations[] = {{"relu", Activation::relu},
                                  {"gelu_tanh", Activation::gelu_tanh},
                                  {"gelu_erf", Activation::gelu_erf},
                                  {"silu", Activation::silu},
                                  {"sigmoid", Activation::sigmoid}};

// Columns of the gate and up panels for h with `cols` columns.
int64_t panel_cols(int64_t cols) { return (cols + 15) / 16 * 32; }
int64_t gate_column(int64_t i) { return i / 16 * 32 + i % 16; }

void activations_equal_reference(const Shape2& s) {
  for (const Named& a : kActivations) {
    SCOPED_TRACE(a.name);
    expect_reference(
        {random_matrix(s.rows, s.cols, s.gap, 1), random_matrix(s.rows, s.cols, s.gap, 2, s.fill),
         random_matrix(s.rows, s.cols, s.gap, 3, s.fill), random_matrix(s.rows, s.cols, s.gap, 4),
         random_matrix(s.rows, 1, s.gap, 5), random_matrix(s.rows, 1, s.gap, 6)},
        [&](const Kernels& k, const std::vector<MatView>& v) {
          k.act_fwd(v[0], v[1], a.kind);
          k.act_bwd(v[3], v[2], v[1], a.kind, true);
          k.act_bwd_and_fwd(v[1], v[2], a.kind, v[4], v[5]);
        });
  }
}

void gated_activations_equal_reference(const Shape2& s) {
  const int64_t wide = panel_cols(s.cols);
  for (const Named& a : kActivations) {
    SCOPED_TRACE(a.name);
    expect_reference(
        {random_matrix(s.rows, s.cols, s.gap, 1), random_matrix(s.rows, wide, s.gap, 2, s.fill),
         random_matrix(s.rows, s.cols, s.gap, 3, s.fill), random_matrix(s.rows, wide, s.gap, 4),
         random_matrix(s.rows, 1, s.gap, 5), random_matrix(s.rows, 1, s.gap, 6)},
        [&](const Kernels& k, const std::vector<MatView>& v) {
          k.gated_act_fwd(v[0], v[1], a.kind);
          k.gated_act_bwd(v[3], v[2], v[1], a.kind, true);
          k.gated_act_bwd_and_fwd(v[1], v[2], a.kind, v[4], v[5]);
        });
  }
}

TEST(Activation, EveryTableEqualsReference) { for_each_shape(activations_equal_reference); }
TEST(Activation, BitsDoNotDependOnThreads) { for_each_threaded_shape(activations_equal_reference); }
TEST(GatedActivation, EveryTableEqualsReference) {
  for_each_shape(gated_activations_equal_reference);
}
TEST(GatedActivation, BitsDoNotDependOnThreads) {
  for_each_threaded_shape(gated_activations_equal_reference);
}

TEST(Activation, InPlaceHasTheSameBits) {
  const auto x = random_matrix(3, 37, 2, 1);
  for (const Named& a : kActivations)
    for_each_table([&](const Kernels& k) {
      auto y = x, in_place = x;
      k.act_fwd(y.view(), x.view(), a.kind);
      k.act_fwd(in_place.view(), in_place.view(), a.kind);
      expect_same(in_place.numbers, y.numbers, a.name);
    });
}

TEST(Activation, GradientsFromZeroOverwriteAndMayLieOverTheInput) {
  const auto check = [](const Kernels& k) {
    for (const Named& a : kActivations) {
      const auto x = random_matrix(3, 37, 2, 1), dy = random_matrix(3, 37, 1, 2);
      auto want = random_matrix(3, 37, 2, 3), got = x;
      for (int64_t r = 0; r < 3; ++r) std::fill_n(want.view().row<float>(r), 37, 0.0f);
      k.act_bwd(want.view(), dy.view(), x.view(), a.kind, true);
      k.act_bwd(got.view(), dy.view(), got.view(), a.kind, false);
      for (int64_t r = 0; r < 3; ++r)
        for (int64_t c = 0; c < 37; ++c) ASSERT_EQ(got.at(r, c), want.at(r, c)) << a.name;

      const auto gu = random_matrix(3, panel_cols(37), 2, 4), dh = random_matrix(3, 37, 1, 5);
      auto dgu = random_matrix(3, panel_cols(37), 0, 6), over = gu;
      for (int64_t r = 0; r < 3; ++r) std::fill_n(dgu.view().row<float>(r), panel_cols(37), 0.0f);
      k.gated_act_bwd(dgu.view(), dh.view(), gu.view(), a.kind, true);
      k.gated_act_bwd(over.view(), dh.view(), over.view(), a.kind, false);
      for (int64_t r = 0; r < 3; ++r)
        for (int64_t c = 0; c < panel_cols(37); ++c)
          ASSERT_EQ(over.at(r, c), dgu.at(r, c)) << a.name << ", pads are 0";
    }
  };
  check(ref_kernels<float>());
  for_each_table(check);
}

TEST(Activation, GradientAndValueInOnePassHaveTheBitsOfTwo) {
  const auto check = [](const Kernels& k) {
    for (const Named& a : kActivations) {
      const auto x = random_matrix(3, 37, 2, 1), dy = random_matrix(3, 37, 1, 2);
      auto dx = x, y = dy, dx_want = x, y_want = dy;
      k.act_bwd(dx_want.view(), dy.view(), x.view(), a.kind, false);
      k.act_fwd(y_want.view(), x.view(), a.kind);
      k.act_bwd_and_fwd(dx.view(), y.view(), a.kind, {}, {});
      expect_same(dx.numbers, dx_want.numbers, a.name);
      expect_same(y.numbers, y_want.numbers, a.name);

      const auto gu = random_matrix(3, panel_cols(37), 2, 4), dh = random_matrix(3, 37, 1, 5);
      auto dgu = gu, h = dh, dgu_want = gu, h_want = dh;
      k.gated_act_bwd(dgu_want.view(), dh.view(), gu.view(), a.kind, false);
      k.gated_act_fwd(h_want.view(), gu.view(), a.kind);
      k.gated_act_bwd_and_fwd(dgu.view(), h.view(), a.kind, {}, {});
      expect_same(dgu.numbers, dgu_want.numbers, a.name);
      expect_same(h.numbers, h_want.numbers, a.name);
    }
  };
  check(ref_kernels<float>());
  for_each_table(check);
}

TEST(Activation, GradientsMatchCentralDifferences) {
  const Kernels& k = ref_kernels<double>();
  for (const Named& a : kActivations) {
    const auto x = normal_matrix(4, 11, 1), dy = normal_matrix(4, 11, 2);
    for (double& value : x.numbers)
      if (std::fabs(value) < 1e-3) value = 0.5;  // a difference across relu's kink is no derivative
    Matrix<double> y(4, 11), dx(4, 11);
    const auto loss = [&] {
      k.act_fwd(y.view(), x.view(), a.kind);
      return dot(y, dy);
    };
    k.act_bwd(dx.view(), dy.view(), x.view(), a.kind, true);
    expect_gradient(dx, x, loss, a.name);
  }
}

TEST(GatedActivation, GradientsMatchCentralDifferencesAndPadsStayUntouched) {
  const Kernels& k = ref_kernels<double>();
  for (const Named& a : kActivations) {
    const int64_t F = 21;
    const auto gu = normal_matrix(3, panel_cols(F), 1), dh = normal_matrix(3, F, 2);
    for (double& value : gu.numbers)
      if (std::fabs(value) < 1e-3) value = 0.5;
    Matrix<double> h(3, F), dgu(3, panel_cols(F));
    const auto loss = [&] {
      k.gated_act_fwd(h.view(), gu.view(), a.kind);
      return dot(h, dh);
    };
    k.gated_act_bwd(dgu.view(), dh.view(), gu.view(), a.kind, true);
    expect_gradient(
        dgu, gu, loss,
        a.name);  // over the pads too: the loss does not depend on them, their gradient is 0
  }
}

template <class T>
void activations_are_torchs() {
  const Kernels& k = ref_kernels<T>();
  const JsonObject& all = row_golden().at("activations").as_object();
  const std::vector<double> gate = numbers_of(all.at("gate")), up = numbers_of(all.at("up"));
  const int64_t n = int64_t(numbers_of(all.at("x")).size()), F = int64_t(gate.size());
  const Matrix<T> x(1, n, numbers_of(all.at("x"))), ones(1, n, std::vector<double>(size_t(n), 1.0)),
      dh(1, F, numbers_of(all.at("dh")));
  Matrix<T> gu(1, panel_cols(F));
  for (int64_t i = 0; i < F; ++i)
    gu.at(0, gate_column(i)) = T(gate[size_t(i)]), gu.at(0, gate_column(i) + 16) = T(up[size_t(i)]);
  for (const Named& a : kActivations) {
    const JsonObject& g = all.at(a.name).as_object();
    Matrix<T> y(1, n), slope(1, n), h(1, F), dgu(1, panel_cols(F)), dgate(1, F), dup(1, F);
    k.act_fwd(y.view(), x.view(), a.kind);
    k.act_bwd(slope.view(), ones.view(), x.view(), a.kind, true);
    k.gated_act_fwd(h.view(), gu.view(), a.kind);
    k.gated_act_bwd(dgu.view(), dh.view(), gu.view(), a.kind, true);
    for (int64_t i = 0; i < F; ++i)
      dgate.at(0, i) = dgu.at(0, gate_column(i)), dup.at(0, i) = dgu.at(0, gate_column(i) + 16);
    expect_golden(y, g.at("y"), a.name);
    expect_golden(slope, g.at("slope"), a.name);
    expect_golden(h, g.at("h"), a.name);
    expect_golden(dgate, g.at("dgate"), a.name);
    expect_golden(dup, g.at("dup"), a.name);
  }
}

TEST(Activation, ValuesAndGradientsAreTorchs) {
  activations_are_torchs<double>();
  activations_are_torchs<float>();
}

}  // namespace
}  // namespace moe::testing
