// SPDX-License-Identifier: MIT
// A tensor and, while a tape records, the place its gradient accumulates.
#pragma once

#include <memory>

#include "moe/tensor/tensor.h"

namespace moe {

/// Where the gradient of one value accumulates. Knows the value's shape but does not hold it, so a
/// backward that needs no more than this place lets the value go.
class GradPlace {
 public:
  GradPlace(const Tensor& value, bool needs_grad)
      : shape_(value.shape()),
        dtype_(value.dtype()),
        layout_(value.layout()),
        needs_grad_(needs_grad) {}

  bool needs_grad() const { return needs_grad_; }
  bool has_grad() const { return bool(grad_); }
  const Tensor& grad() {
    if (!grad_) grad_ = Tensor::zeros(shape_, dtype_, layout_);
    return grad_;
  }
  void set(Tensor grad) { grad_ = std::move(grad); }
  void freeze() { needs_grad_ = false; }
  Tensor empty() const { return Tensor::empty(shape_, dtype_, layout_); }

 private:
  Tensor grad_;
  Shape shape_;
  DType dtype_;
  Layout layout_;
  bool needs_grad_;
};

class Var {
 public:
  Var() = default;
  explicit Var(Tensor value, bool needs_grad = false)
      : value_(std::move(value)), place_(std::make_shared<GradPlace>(value_, needs_grad)) {}

  explicit operator bool() const { return place_ != nullptr; }
  const Tensor& value() const { return value_; }
  const Shape& shape() const { return value_.shape(); }
  int64_t size(int dim) const { return value_.size(dim); }
  DType dtype() const { return value_.dtype(); }
  MatView view() const { return value_.view(); }
  bool needs_grad() const { return place_->needs_grad(); }

  /// Zeros at first use; every backward adds to it, so it survives micro-batches until clear_grad.
  const Tensor& grad() const { return place_->grad(); }
  /// The same place for an op that can also write it whole: with `accumulate` the backward adds to
  /// what is there, otherwise the memory is uninitialised and the backward must set all of it.
  struct GradTarget {
    Tensor tensor;
    bool accumulate;
  };
  GradTarget grad_target() const {
    const bool accumulate = has_grad();
    if (!accumulate) place_->set(place_->empty());
    return {place_->grad(), accumulate};
  }
  /// The first gradient of this Var, of its shape, type and layout; later ones are added to it.
  void set_grad(Tensor grad) const { place_->set(std::move(grad)); }
  bool has_grad() const { return place_->has_grad(); }
  /// No gradient is wanted from now on, by any copy of this Var.
  void freeze() const { place_->freeze(); }
  void clear_grad() const { place_->set({}); }
  /// For a backward that needs the gradient and not the value.
  const std::shared_ptr<GradPlace>& grad_place() const { return place_; }

  /// The same value with a gradient buffer of its own: for a parameter that is used twice
  /// (docs/NUMERICS.md, "Backward").
  Var alias() const { return Var(value_, needs_grad()); }
  bool same_as(const Var& other) const { return place_ == other.place_; }

 private:
  Tensor value_;
  std::shared_ptr<GradPlace> place_;
};

}  // namespace moe
