// SPDX-License-Identifier: MIT
#include "moe/tensor/tensor.h"

#include <cstring>

#include "moe/base/parallel.h"
#include "moe/tensor/allocator.h"

namespace moe {
namespace {

constexpr int64_t kBytesPerTask = 1 << 20;  // fewer are not worth waking a thread for

}  // namespace

std::string Shape::text() const {
  std::string out = "[";
  for (int i = 0; i < rank_; ++i) out += (i ? ", " : "") + std::to_string(sizes_[size_t(i)]);
  return out + "]";
}

int64_t Tensor::stored_numel() const {
  if (layout_ == Layout::row_major) return shape_.numel();
  return n_matrices() * panel_map().stored_numel();
}

PanelMap Tensor::panel_map() const {
  MOE_CHECK(layout_ != Layout::row_major, "[tensor] ", shape_.text(),
            " is row-major, panels were wanted");
  return {.rows = shape_[-2], .cols = shape_[-1], .gate_up = layout_ == Layout::panel16_gate_up};
}

Tensor Tensor::empty(Shape shape, DType dtype, Layout layout) {
  Tensor t;
  t.shape_ = shape;
  t.dtype_ = dtype;
  t.layout_ = layout;
  if (layout != Layout::row_major) {
    MOE_CHECK(shape.rank() == 2 || shape.rank() == 3,
              "[tensor] panels need [out, in] or [E, out, in], got ", shape.text());
    MOE_CHECK(layout != Layout::panel16_gate_up || shape[-2] % 2 == 0,
              "[tensor] gate_up panels need an even number of rows, got ", shape.text());
  }
  int64_t bytes = 0;
  MOE_CHECK(!__builtin_mul_overflow(t.stored_numel(), dtype_bytes(dtype), &bytes), "[tensor] ",
            shape.text(), " is too large");
  t.storage_ = allocate_storage(bytes);
  const PanelMap map = layout == Layout::row_major ? PanelMap{} : t.panel_map();
  if (map.half() % 16 != 0) t.fill_zero();  // the pads; cheap enough to zero the rest with them
  return t;
}

Tensor Tensor::zeros(Shape shape, DType dtype, Layout layout) {
  Tensor t = empty(shape, dtype, layout);
  t.fill_zero();
  return t;
}

void Tensor::fill_zero() const {
  parallel_for(stored_bytes(), kBytesPerTask, [&](int64_t begin, int64_t end) {
    std::memset(raw() + begin, 0, size_t(end - begin));
  });
}

Tensor Tensor::reshape(Shape shape) const {
  MOE_CHECK(layout_ == Layout::row_major, "[tensor] reshape of a panel tensor");
  MOE_CHECK(shape.numel() == numel(), "[tensor] reshape of ", shape_.text(), " to ", shape.text());
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::rows(int64_t begin, int64_t end) const {
  MOE_CHECK(layout_ == Layout::row_major && shape_.rank() >= 1,
            "[tensor] rows() needs a row-major tensor");
  MOE_CHECK(0 <= begin && begin <= end && end <= shape_[0], "[tensor] rows [", begin, ", ", end,
            ") of ", shape_.text());
  Tensor t = *this;
  Shape shape;
  shape.push_back(end - begin);
  for (int i = 1; i < shape_.rank(); ++i) shape.push_back(shape_[i]);
  const int64_t row_numel = shape_[0] == 0 ? 0 : numel() / shape_[0];
  t.byte_offset_ = byte_offset_ + begin * row_numel * dtype_bytes(dtype_);
  t.shape_ = shape;
  return t;
}

Tensor Tensor::clone() const {
  Tensor t = empty(shape_, dtype_, layout_);
  parallel_for(stored_bytes(), kBytesPerTask, [&](int64_t begin, int64_t end) {
    std::memcpy(t.raw() + begin, raw() + begin, size_t(end - begin));
  });
  return t;
}

namespace {

double load_element(const std::byte* p, DType dtype, int64_t i) {
  switch (dtype) {
    case DType::f64: return reinterpret_cast<const double*>(p)[i];
    case DType::f32: return double(reinterpret_cast<const float*>(p)[i]);
    case DType::f16: return double(f16_to_f32(reinterpret_cast<const uint16_t*>(p)[i]));
    case DType::bf16: return double(bf16_to_f32(reinterpret_cast<const uint16_t*>(p)[i]));
    default:
      throw Error(str("[tensor] conversion from ", dtype_name(dtype), "; floating types only"));
  }
}

void store_element(std::byte* p, DType dtype, int64_t i, double value) {
  switch (dtype) {
    case DType::f64: reinterpret_cast<double*>(p)[i] = value; break;
    case DType::f32: reinterpret_cast<float*>(p)[i] = float(value); break;
    // Through float32: inputs are at most float32 exact in practice, so this rounds once for f32
    // sources.
    case DType::f16: reinterpret_cast<uint16_t*>(p)[i] = f32_to_f16(float(value)); break;
    case DType::bf16: reinterpret_cast<uint16_t*>(p)[i] = f32_to_bf16(float(value)); break;
    default:
      throw Error(str("[tensor] conversion to ", dtype_name(dtype), "; floating types only"));
  }
}

}  // namespace

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return clone();
  Tensor t = empty(shape_, dtype, layout_);
  const int64_t n = stored_numel();
  for (int64_t i = 0; i < n; ++i) store_element(t.raw(), dtype, i, load_element(raw(), dtype_, i));
  return t;
}

MatView Tensor::view() const {
  MOE_CHECK(layout_ == Layout::row_major, "[tensor] view() of a panel tensor ", shape_.text());
  const int64_t cols = shape_.rank() == 0 ? 1 : shape_[-1];
  int64_t rows = 1;
  for (int i = 0; i + 1 < shape_.rank(); ++i) rows *= shape_[i];
  return {raw(), dtype_, rows, cols, cols};
}

PanelView Tensor::panels() const { return {raw(), dtype_, n_matrices(), panel_map()}; }

void accumulate(const Tensor& to, const Tensor& from) {
  MOE_CHECK(
      to.shape() == from.shape() && to.dtype() == from.dtype() && to.layout() == from.layout(),
      "[accumulate] ", to.shape().text(), " += ", from.shape().text());
  auto add = [](auto a, auto b) {
    for (size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  };
  if (to.dtype() == DType::f32)
    add(to.data<float>(), from.data<float>());
  else if (to.dtype() == DType::f64)
    add(to.data<double>(), from.data<double>());
  else
    throw Error(str("[accumulate] of ", dtype_name(to.dtype())));
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && a.layout() == b.layout() &&
         (a.stored_bytes() == 0 || std::memcmp(a.raw(), b.raw(), size_t(a.stored_bytes())) == 0);
}

namespace {

// Calls f(panel offset, row, column) for each element of logical rows [row, row + n) of matrix e,
// rows counted from `row`. Where 16 rows make a whole panel, they are visited a square at a time,
// so that both sides stay in the cache.
template <class F>
void for_each_element(const Tensor& weight, int64_t e, int64_t row, int64_t n, F f) {
  MOE_CHECK(
      e >= 0 && e < weight.n_matrices() && row >= 0 && n >= 0 && row + n <= weight.shape()[-2],
      "[tensor] rows [", row, ", ", row + n, ") of matrix ", e, " of ", weight.shape().text());
  const int64_t cols = weight.shape()[-1];
  if (weight.layout() == Layout::row_major) {
    const int64_t base = (e * weight.shape()[-2] + row) * cols;
    for (int64_t r = 0; r < n; ++r)
      for (int64_t c = 0; c < cols; ++c) f(base + r * cols + c, r, c);
    return;
  }
  const PanelMap map = weight.panel_map();
  const int64_t base = e * map.stored_numel();
  for (int64_t r = 0; r < n;) {
    const int64_t start = base + map.offset(row + r, 0), stored = map.stored_row(row + r);
    if (stored % 16 == 0 && r + 16 <= n && map.stored_row(row + r + 15) == stored + 15) {
      for (int64_t c0 = 0; c0 < cols; c0 += 16)
        for (int64_t lane = 0; lane < 16; ++lane)
          for (int64_t c = c0; c < std::min(cols, c0 + 16); ++c)
            f(start + c * 16 + lane, r + lane, c);
      r += 16;
      continue;
    }
    for (int64_t c = 0; c < cols; ++c) f(start + c * 16, r, c);
    r += 1;
  }
}

template <class T>
void copy_out(const Tensor& weight, int64_t e, int64_t row, int64_t n, const Tensor& out) {
  const T* from = reinterpret_cast<const T*>(weight.raw());
  T* to = reinterpret_cast<T*>(out.raw());
  const int64_t cols = weight.shape()[-1];
  for_each_element(weight, e, row, n,
                   [=](int64_t p, int64_t r, int64_t c) { to[r * cols + c] = from[p]; });
}

template <class T>
void copy_in(const Tensor& weight, int64_t e, int64_t row, int64_t n, const Tensor& in) {
  T* to = reinterpret_cast<T*>(weight.raw());
  const T* from = reinterpret_cast<const T*>(in.raw());
  const int64_t cols = weight.shape()[-1];
  for_each_element(weight, e, row, n,
                   [=](int64_t p, int64_t r, int64_t c) { to[p] = from[r * cols + c]; });
}

// 16 rows at a time, so that what is written lies side by side.
template <class T>
void transpose_into(const Tensor& to, const Tensor& from) {
  const int64_t rows = from.size(0), cols = from.size(1);
  const T* in = reinterpret_cast<const T*>(from.raw());
  T* out = reinterpret_cast<T*>(to.raw());
  for (int64_t first = 0; first < rows; first += 16)
    for (int64_t c = 0; c < cols; ++c)
      for (int64_t r = first; r < std::min(rows, first + 16); ++r)
        out[c * rows + r] = in[r * cols + c];
}

}  // namespace

Tensor read_rows(const Tensor& weight, int64_t e, int64_t row, int64_t n) {
  Tensor out = Tensor::empty({n, weight.shape()[-1]}, weight.dtype());
  switch (dtype_bytes(weight.dtype())) {
    case 8: copy_out<uint64_t>(weight, e, row, n, out); break;
    case 4: copy_out<uint32_t>(weight, e, row, n, out); break;
    case 2: copy_out<uint16_t>(weight, e, row, n, out); break;
    default: copy_out<uint8_t>(weight, e, row, n, out); break;
  }
  return out;
}

void write_rows(const Tensor& weight, int64_t e, int64_t row, const Tensor& values) {
  MOE_CHECK(values.dtype() == weight.dtype() && values.shape()[-1] == weight.shape()[-1],
            "[tensor] rows ", values.shape().text(), " do not fit ", weight.shape().text());
  const int64_t n = values.numel() / std::max<int64_t>(1, values.shape()[-1]);
  switch (dtype_bytes(weight.dtype())) {
    case 8: copy_in<uint64_t>(weight, e, row, n, values); break;
    case 4: copy_in<uint32_t>(weight, e, row, n, values); break;
    case 2: copy_in<uint16_t>(weight, e, row, n, values); break;
    default: copy_in<uint8_t>(weight, e, row, n, values); break;
  }
}

Tensor to_layout(const Tensor& weight, Layout layout) {
  if (weight.layout() == layout) return weight.clone();
  Tensor out = Tensor::empty(weight.shape(), weight.dtype(), layout);
  for (int64_t e = 0; e < weight.n_matrices(); ++e)
    write_rows(out, e, 0, read_rows(weight, e, 0, weight.shape()[-2]));
  return out;
}

Tensor transposed(const Tensor& matrix) {
  MOE_CHECK(matrix.shape().rank() == 2 && matrix.layout() == Layout::row_major,
            "[tensor] only a row-major matrix is transposed, not ", matrix.shape().text());
  Tensor out = Tensor::empty({matrix.size(1), matrix.size(0)}, matrix.dtype());
  switch (dtype_bytes(matrix.dtype())) {
    case 8: transpose_into<uint64_t>(out, matrix); break;
    case 4: transpose_into<uint32_t>(out, matrix); break;
    case 2: transpose_into<uint16_t>(out, matrix); break;
    default: transpose_into<uint8_t>(out, matrix); break;
  }
  return out;
}

}  // namespace moe
