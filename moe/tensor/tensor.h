// SPDX-License-Identifier: MIT
// Contiguous, typed at run time, at most four dimensions; copies share storage. Storage is 64-byte
// aligned and comes from a caching allocator, so a warm training step does not ask the system for
// memory.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>

#include "moe/base/error.h"
#include "moe/tensor/dtype.h"
#include "moe/tensor/layout.h"
#include "moe/tensor/shape.h"

namespace moe {

/// A rank-2 window into a tensor: what kernels take. Element (r, c) of type T is at data[r * stride
/// + c].
struct MatView {
  void* data = nullptr;
  DType dtype = DType::f32;
  int64_t rows = 0, cols = 0, stride = 0;

  explicit operator bool() const { return data != nullptr; }
  template <class T>
  T* row(int64_t r) const {
    return static_cast<T*>(data) + r * stride;
  }
  template <class T>
  T& at(int64_t r, int64_t c) const {
    return row<T>(r)[c];
  }
  /// Columns [begin, begin + count), same rows, no copy.
  MatView columns(int64_t begin, int64_t count) const {
    return {static_cast<std::byte*>(data) + begin * dtype_bytes(dtype), dtype, rows, count, stride};
  }
  MatView row_range(int64_t begin, int64_t end) const {
    return {static_cast<std::byte*>(data) + begin * stride * dtype_bytes(dtype), dtype, end - begin,
            cols, stride};
  }
};

/// A weight in panels, one matrix per expert (experts = 1 for a plain linear layer).
struct PanelView {
  void* data = nullptr;
  DType dtype = DType::f32;
  int64_t experts = 1;
  PanelMap map;

  explicit operator bool() const { return data != nullptr; }
  template <class T>
  T* expert(int64_t e) const {
    return static_cast<T*>(data) + e * map.stored_numel();
  }
};

class Tensor {
 public:
  Tensor() = default;
  /// Uninitialised (panel pads are 0). Panel layouts need rank 2 [out, in] or 3 [E, out, in].
  static Tensor empty(Shape shape, DType dtype, Layout layout = Layout::row_major);
  static Tensor zeros(Shape shape, DType dtype, Layout layout = Layout::row_major);
  template <class T>
  static Tensor from(Shape shape, std::span<const T> values) {
    Tensor t = empty(shape, dtype_of<T>);
    MOE_CHECK(int64_t(values.size()) == shape.numel(), "[tensor] ", values.size(),
              " values for shape ", shape.text());
    std::copy(values.begin(), values.end(), t.data<T>().begin());
    return t;
  }

  explicit operator bool() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int64_t size(int dim) const { return shape_[dim]; }
  int64_t numel() const { return shape_.numel(); }
  DType dtype() const { return dtype_; }
  Layout layout() const { return layout_; }
  /// Elements in memory, pads included.
  int64_t stored_numel() const;
  int64_t stored_bytes() const { return stored_numel() * dtype_bytes(dtype_); }

  /// The stored elements (panel order for panel layouts). Throws Error when T is not dtype().
  template <class T>
  std::span<T> data() const {
    MOE_CHECK(dtype_of<T> == dtype_, "[tensor] data<", dtype_name(dtype_of<T>),
              ">() of a tensor of ", dtype_name(dtype_));
    return {reinterpret_cast<T*>(raw()), size_t(stored_numel())};
  }
  std::byte* raw() const { return storage_.get() + byte_offset_; }

  /// Same storage, other sizes; row-major only.
  Tensor reshape(Shape shape) const;
  /// Rows [begin, end) of the outermost dimension; row-major only; shares storage.
  Tensor rows(int64_t begin, int64_t end) const;
  Tensor clone() const;
  /// Copy converted to another floating type, same layout.
  Tensor to(DType dtype) const;
  void fill_zero() const;

  /// Rank 2 as it is, rank 1 as one row, higher ranks with the outer dimensions merged. Row-major
  /// only.
  MatView view() const;
  /// Panel layouts only.
  PanelView panels() const;
  PanelMap panel_map() const;
  /// How many matrices a panel tensor stacks (1 for rank 2).
  int64_t n_matrices() const { return shape_.rank() == 3 ? shape_[0] : 1; }

 private:
  std::shared_ptr<std::byte> storage_;
  int64_t byte_offset_ = 0;
  Shape shape_;
  DType dtype_ = DType::f32;
  Layout layout_ = Layout::row_major;
};

/// to += from, elementwise on stored elements (same shape, dtype and layout).
void accumulate(const Tensor& to, const Tensor& from);
/// Equal bytes (so NaN equals the same NaN, and -0 differs from 0).
bool same_bits(const Tensor& a, const Tensor& b);

/// Row-major copy of logical rows [row, row + n) of matrix e of a panel tensor (or of a rank-2/3
/// row-major tensor).
Tensor read_rows(const Tensor& weight, int64_t e, int64_t row, int64_t n);
/// Writes row-major [n, in] values of the same dtype into logical rows [row, row + n) of matrix e.
void write_rows(const Tensor& weight, int64_t e, int64_t row, const Tensor& values);
/// The same numbers in another layout.
Tensor to_layout(const Tensor& weight, Layout layout);
/// [cols, rows] of a row-major matrix [rows, cols].
Tensor transposed(const Tensor& matrix);

/// f(span) with the elements in their own type.
template <class F>
void with_elements(const Tensor& t, F f) {
  if (t.dtype() == DType::f64)
    f(t.data<double>());
  else
    f(t.data<float>());
}

/// Tensor storage in use now, and the most there ever was since reset, in bytes (cached free blocks
/// not counted).
int64_t tensor_bytes_in_use();
int64_t tensor_bytes_peak();
void reset_tensor_bytes_peak();
/// Number of times storage had to be asked of the system.
int64_t tensor_system_allocations();

}  // namespace moe
