// SPDX-License-Identifier: MIT
#include "moe/nn/moe/score_ops.h"

#include "moe/nn/moe/assignment_router.h"

namespace moe {
namespace {

// to[i] += f(i), rounded to the type of `to`.
template <class F>
void add_each(const Tensor& to, F f) {
  with_elements(to, [&](auto elements) {
    for (size_t i = 0; i < elements.size(); ++i)
      elements[i] += std::remove_reference_t<decltype(elements[0])>(f(i));
  });
}

double element(const Tensor& t, size_t i) {
  return t.dtype() == DType::f64 ? t.data<double>()[i] : double(t.data<float>()[i]);
}

}  // namespace

Var map_scores(const char* op, const Var& x, const std::function<ValueAndSlope(double)>& f) {
  const Tensor y = Tensor::zeros(x.shape(), x.dtype());
  add_each(y, [&](size_t i) { return f(element(x.value(), i)).value; });
  return record(op, y, {x}, [=](const Tensor& dy) {
    add_each(x.grad(), [&](size_t i) { return element(dy, i) * f(element(x.value(), i)).slope; });
  });
}

Tensor normal_draws(const Tensor& like_TE, const ForwardContext& ctx, const char* purpose) {
  const RngStream draws = ctx.rng.stream(purpose, ctx.layer);
  const std::span<const int64_t> index = ctx.token_index_T.data<int64_t>();
  const Tensor out = Tensor::zeros(like_TE.shape(), like_TE.dtype());
  const size_t E = size_t(like_TE.size(1));
  add_each(out, [&](size_t i) { return draws.normal(index[i / E], int64_t(i % E)); });
  return out;
}

void add_to_score_grad(const Var& x, int64_t t, int64_t e, double slope) {
  if (!wants_grad(x)) return;
  const size_t i = size_t(t * x.size(1) + e);
  with_elements(x.grad(),
                [&](auto grad) { grad[i] += std::remove_reference_t<decltype(grad[0])>(slope); });
}

Tensor scalar_tensor(double value) { return Tensor::from<double>({1}, {&value, 1}); }

CvSquared::CvSquared(std::vector<double> v) : v_(std::move(v)) {
  const double n = double(v_.size());
  for (const double x : v_) mean_ += x / n;
  for (const double x : v_) variance_ += (x - mean_) * (x - mean_) / n;
}
double CvSquared::value() const { return mean_ == 0 ? 0 : variance_ / (mean_ * mean_); }
double CvSquared::slope(size_t i) const {
  if (mean_ == 0) return 0;
  const double n = double(v_.size());
  return 2 * (v_[i] - mean_) / (n * mean_ * mean_) - 2 * variance_ / (n * mean_ * mean_ * mean_);
}

Var group_sums(const Var& x_TE, int64_t n_groups) {
  const size_t E = size_t(x_TE.size(1)), G = size_t(n_groups), size = E / G;
  const Tensor y = Tensor::zeros({x_TE.size(0), n_groups}, x_TE.dtype());
  add_each(y, [&](size_t i) {
    double sum = 0;
    for (size_t j = 0; j < size; ++j) sum += element(x_TE.value(), i / G * E + i % G * size + j);
    return sum;
  });
  return record("group_sums", y, {x_TE}, [=](const Tensor& dy) {
    add_each(x_TE.grad(), [&](size_t i) { return element(dy, i / E * G + i % E / size); });
  });
}

}  // namespace moe
