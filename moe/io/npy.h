// SPDX-License-Identifier: MIT
// NumPy's .npy files (numpy.lib.format, versions 1.0 to 3.0): little-endian numbers in C order,
// rank at most 4.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "moe/base/byte_view.h"
#include "moe/base/mmap_file.h"
#include "moe/tensor/tensor.h"

namespace moe {

class Fs;

/// A mapped .npy file: for token files larger than memory. Opening checks that the header (a Python
/// dict literal, parsed by a strict grammar, never evaluated) and the file's size agree. Throws
/// Error that says how to save the array again for big-endian, Fortran-ordered, object and
/// structured arrays.
class NpyFile {
 public:
  explicit NpyFile(const std::string& path);

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  const std::string& path() const { return file_.path(); }
  /// The array's bytes in C order, any alignment; valid as long as this object.
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  MmapFile file_;
  DType dtype_ = DType::f32;
  Shape shape_;
  std::span<const std::byte> bytes_;
};

/// A copy of the whole array.
Tensor read_npy(const std::string& path);

/// Writes a row-major tensor, atomically; the bytes equal those of numpy.save. bf16 has no NumPy
/// type: Error.
void write_npy(Fs& fs, const std::string& path, const Tensor& tensor);

}  // namespace moe
