// SPDX-License-Identifier: MIT
// AdamW: fast tables against the reference, the reference against torch's sequence of steps.
#include "row_testing.h"

namespace moe::testing {
namespace {

constexpr AdamW kStep3{.lr = 1e-3,
                       .beta1 = 0.9,
                       .beta2 = 0.95,
                       .eps = 1e-8,
                       .weight_decay = 0.1,
                       .bias_correction1 = 1 - 0.9 * 0.9 * 0.9,
                       .bias_correction2 = 1 - 0.95 * 0.95 * 0.95,
                       .grad_scale = 0.37};

void adamw_equals_reference(const Shape2& s, const AdamW& options) {
  auto v = random_matrix(s.rows, s.cols, s.gap, 3, s.fill);
  for (float& x : v.numbers) x = std::fabs(x);
  expect_reference({random_matrix(s.rows, s.cols, s.gap, 1, s.fill),
                    random_matrix(s.rows, s.cols, s.gap, 2, s.fill), v,
                    random_matrix(s.rows, s.cols, s.gap, 4, s.fill)},
                   [&](const Kernels& k, const std::vector<MatView>& m) {
                     k.adamw(m[0], m[1], m[2], m[3], options);
                   });
}

TEST(AdamW, EveryTableEqualsReference) {
  for_each_shape([](const Shape2& s) {
    AdamW options = kStep3;
    adamw_equals_reference(s, options);
    options.eps = 0, options.weight_decay = 0, options.grad_scale = 1;
    adamw_equals_reference(s, options);
  });
}

TEST(AdamW, BitsDoNotDependOnThreads) {
  for_each_threaded_shape([](const Shape2& s) { adamw_equals_reference(s, kStep3); });
}

template <class T>
void adamw_is_torchs() {
  const JsonObject& g = row_golden().at("adamw").as_object();
  const auto number = [&](const char* key) { return g.at(key).to_number<double>(); };
  AdamW options{.lr = number("lr"),
                .beta1 = number("beta1"),
                .beta2 = number("beta2"),
                .eps = number("eps"),
                .weight_decay = number("weight_decay"),
                .bias_correction1 = 1,
                .bias_correction2 = 1,
                .grad_scale = 4};
  Matrix<T> p(1, 2, numbers_of(g.at("p"))), m(1, 2), v(1, 2);
  const JsonArray &grads = g.at("grads").as_array(), &steps = g.at("steps").as_array();
  for (size_t t = 0; t < grads.size(); ++t) {
    std::vector<double> quarter = numbers_of(grads[t]);  // grad_scale restores it, exactly
    for (double& x : quarter) x /= 4;
    options.bias_correction1 = 1 - std::pow(options.beta1, double(t + 1));
    options.bias_correction2 = 1 - std::pow(options.beta2, double(t + 1));
    ref_kernels<T>().adamw(p.view(), m.view(), v.view(), Matrix<T>(1, 2, quarter).view(), options);
    expect_golden(p, steps[t], "p");
  }
}

TEST(AdamW, StepsAreTorchs) {
  adamw_is_torchs<double>();
  adamw_is_torchs<float>();
}

TEST(AdamW, DecayAloneShrinksTheParameterAndMovesNothingElse) {
  for_each_table([](const Kernels& k) {
    Matrix<float> p(1, 19, std::vector<double>(19, 2.0)), m(1, 19), v(1, 19);
    const Matrix<float> g(1, 19);
    AdamW options = kStep3;
    options.lr = 0.5, options.weight_decay = 0.5;
    k.adamw(p.view(), m.view(), v.view(), g.view(), options);
    for (int64_t i = 0; i < 19; ++i) {
      EXPECT_EQ(p.at(0, i), 1.5f);
      EXPECT_EQ(m.at(0, i), 0.0f);
      EXPECT_EQ(v.at(0, i), 0.0f);
    }
  });
}

}  // namespace
}  // namespace moe::testing
