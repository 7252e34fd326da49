// SPDX-License-Identifier: MIT
// A tensor and, while a tape records, the place its gradient accumulates.
#pragma once

#include <memory>

#include "moe/tensor/tensor.h"

namespace moe {

class Var {
 public:
  Var() = default;
  explicit Var(Tensor value, bool needs_grad = false)
      : node_(std::make_shared<Node>(Node{std::move(value), {}, needs_grad})) {}

  explicit operator bool() const { return node_ != nullptr; }
  const Tensor& value() const { return node_->value; }
  const Shape& shape() const { return node_->value.shape(); }
  int64_t size(int dim) const { return node_->value.size(dim); }
  DType dtype() const { return node_->value.dtype(); }
  MatView view() const { return node_->value.view(); }
  bool needs_grad() const { return node_->needs_grad; }

  /// Zeros at first use; every backward adds to it, so it survives micro-batches until clear_grad.
  const Tensor& grad() const {
    if (!node_->grad) node_->grad = Tensor::zeros(shape(), dtype(), value().layout());
    return node_->grad;
  }
  /// The same place for an op that can also write it whole: with `accumulate` the backward adds to
  /// what is there, otherwise the memory is uninitialised and the backward must set all of it.
  struct GradTarget {
    Tensor tensor;
    bool accumulate;
  };
  GradTarget grad_target() const {
    const bool accumulate = has_grad();
    if (!accumulate) node_->grad = Tensor::empty(shape(), dtype(), value().layout());
    return {node_->grad, accumulate};
  }
  /// The first gradient of this Var, of its shape, type and layout; later ones are added to it.
  void set_grad(Tensor grad) const { node_->grad = std::move(grad); }
  bool has_grad() const { return bool(node_->grad); }
  void clear_grad() const { node_->grad = {}; }

  /// The same value with a gradient buffer of its own: for a parameter that is used twice
  /// (docs/NUMERICS.md, "Backward").
  Var alias() const { return Var(node_->value, node_->needs_grad); }
  bool same_as(const Var& other) const { return node_ == other.node_; }

 private:
  struct Node {
    Tensor value, grad;
    bool needs_grad;
  };
  std::shared_ptr<Node> node_;
};

}  // namespace moe
