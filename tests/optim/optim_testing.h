// SPDX-License-Identifier: MIT
// Single parameters for optimiser tests.
#pragma once

#include <gtest/gtest.h>
#include <vector>

#include "moe/nn/module.h"

namespace moe {

/// A row-major double vector with a role of our choice and a gradient to be set.
struct TestParameter {
  Parameter parameter;

  TestParameter(const std::vector<double>& values, Role role)
      : parameter{.name = "p",
                  .var = Var(Tensor::from<double>({int64_t(values.size())}, values), true),
                  .role = role,
                  .pieces = {{.name = "p", .rows = int64_t(values.size()), .is_vector = true}},
                  .other_uses = {}} {}
  void set_grad(const std::vector<double>& grad) const {
    std::copy(grad.begin(), grad.end(), parameter.var.grad().data<double>().begin());
  }
  std::vector<double> values() const {
    const std::span<double> v = parameter.var.value().data<double>();
    return {v.begin(), v.end()};
  }
};

inline void expect_near(const std::vector<double>& have, const std::vector<double>& want,
                        double tolerance) {
  ASSERT_EQ(have.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(have[i], want[i], tolerance) << "at " << i;
}

}  // namespace moe
