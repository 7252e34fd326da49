// SPDX-License-Identifier: MIT
// Gradients of an op in double against central differences, element by element.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "moe/autograd/tape.h"
#include "moe/base/rng.h"
#include "moe/base/str.h"

namespace moe::testing {

inline Tensor normal_tensor(Shape shape, std::string_view name, double spread = 1,
                            Layout layout = Layout::row_major) {
  const RngStream rng(5, 0, name);
  Tensor x = Tensor::empty(shape, DType::f64);
  for (int64_t i = 0; i < x.numel(); ++i) x.data<double>()[size_t(i)] = spread * rng.normal(i, 0);
  return layout == Layout::row_major ? x : to_layout(x, layout);
}
inline Tensor indices(const std::vector<int32_t>& values) {
  return Tensor::from<int32_t>({int64_t(values.size())}, values);
}

/// Storage places of the logical elements: all of them, or those of a panel layout that are no
/// pads.
inline std::vector<size_t> logical_places(const Tensor& x) {
  std::vector<size_t> places;
  if (x.layout() == Layout::row_major) {
    for (int64_t i = 0; i < x.numel(); ++i) places.push_back(size_t(i));
    return places;
  }
  const PanelMap map = x.panel_map();
  for (int64_t e = 0; e < x.n_matrices(); ++e)
    for (int64_t r = 0; r < map.rows; ++r)
      for (int64_t c = 0; c < map.cols; ++c)
        places.push_back(size_t(e * map.stored_numel() + map.offset(r, c)));
  return places;
}

using Op = std::function<Var(const std::vector<Var>&)>;

/// The gradients that the tape gives to the inputs with wanted[i] for the loss sum(weight * op),
/// weight random and fixed; `times` backward passes add up.
inline std::vector<Tensor> tape_gradients(const std::vector<Tensor>& inputs, const Op& op,
                                          const std::vector<bool>& wanted, int times = 1) {
  std::vector<Var> vars;
  for (size_t i = 0; i < inputs.size(); ++i) vars.emplace_back(inputs[i].clone(), wanted[i]);
  for (int n = 0; n < times; ++n) {
    Tape tape;
    const Var y = op(vars);
    const Tensor weight = normal_tensor(y.shape(), "loss weight");
    std::ranges::copy(weight.data<double>(), y.grad().data<double>().begin());
    tape.backward_from_grads();
  }
  std::vector<Tensor> grads;
  for (size_t i = 0; i < vars.size(); ++i) grads.push_back(wanted[i] ? vars[i].grad() : Tensor());
  return grads;
}

/// Checks the gradient of every element of every input; that a second backward pass adds the same
/// again; that an input gets the same gradient when it is the only one that wants one; that the
/// gradient of a pad is 0.
/// Of two central differences, (4 D(h) - D(2 h)) / 3 cancels the term in h^2: with h = 1e-3 about
/// h^4 times a fifth derivative and 1e-16 |loss| / h, so some 1e-11, are left of numbers of
/// order 1.
inline void expect_gradients(const std::vector<Tensor>& inputs, const Op& op) {
  const std::vector<bool> all(inputs.size(), true);
  const std::vector<Tensor> grads = tape_gradients(inputs, op, all),
                            twice = tape_gradients(inputs, op, all, 2);
  std::vector<Tensor> moved;
  for (const Tensor& x : inputs) moved.push_back(x.clone());
  auto loss = [&] {
    std::vector<Var> vars;
    for (const Tensor& x : moved) vars.emplace_back(x.clone());
    const Var y = op(vars);
    const Tensor weight = normal_tensor(y.shape(), "loss weight");
    double sum = 0;
    for (size_t j = 0; j < y.value().data<double>().size(); ++j)
      sum += weight.data<double>()[j] * y.value().data<double>()[j];
    return sum;
  };
  for (size_t i = 0; i < inputs.size(); ++i) {
    SCOPED_TRACE(str("input ", i));
    const std::vector<size_t> places = logical_places(inputs[i]);
    const std::span<double> x = moved[i].data<double>(), grad = grads[i].data<double>();
    std::vector<double> numeric;
    double largest = 0;
    for (const size_t place : places) {
      const double old = x[place];
      auto slope = [&](double h) {
        x[place] = old + h;
        const double above = loss();
        x[place] = old - h;
        const double below = loss();
        x[place] = old;
        return (above - below) / (2 * h);
      };
      numeric.push_back((4 * slope(1e-3) - slope(2e-3)) / 3);
      largest = std::max(largest, std::abs(numeric.back()));
    }
    EXPECT_GT(largest, 1e-3) << "the loss does not depend on this input";
    for (size_t j = 0; j < places.size(); ++j) {
      EXPECT_NEAR(grad[places[j]], numeric[j],
                  1e-6 * std::max(std::abs(numeric[j]), 1e-2 * largest))
          << "element " << j;
      EXPECT_NEAR(twice[i].data<double>()[places[j]], 2 * grad[places[j]], 1e-12 * largest)
          << "a second backward, element " << j;
    }
    double of_pads = 0;
    for (const double g : grad) of_pads += std::abs(g);
    for (const size_t place : places) of_pads -= std::abs(grad[place]);
    EXPECT_NEAR(of_pads, 0, 1e-12 * largest * double(places.size())) << "pads";
    std::vector<bool> alone(inputs.size(), false);
    alone[i] = true;
    EXPECT_TRUE(same_bits(tape_gradients(inputs, op, alone)[i], grads[i])) << "alone";
  }
}

}  // namespace moe::testing
