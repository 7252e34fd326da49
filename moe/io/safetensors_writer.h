// SPDX-License-Identifier: MIT
// Writing safetensors: the bytes are those that the `safetensors` library (0.8.0) writes for the
// same tensors, so a file can be compared by hash whoever made it. Tensors are streamed; nothing
// holds more than a piece of one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "moe/io/byte_sink.h"
#include "moe/tensor/tensor.h"

namespace moe {

/// A tensor to be written. `content` pushes its row-major little-endian bytes, exactly numel x
/// dtype_bytes of them; it is called once, when the tensor's turn comes.
struct TensorSource {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  ByteProducer content;

  uint64_t bytes() const { return uint64_t(shape.numel()) * uint64_t(dtype_bytes(dtype)); }
};

/// The tensor as it is (storage shared). Panel layouts are written in logical row-major order, a
/// few rows at a time.
TensorSource tensor_source(std::string name, const Tensor& tensor);

/// Pushes one safetensors file: header padded with spaces to a multiple of 8 bytes, tensors by
/// descending alignment of the dtype, then by name; metadata by key (the library's order there is
/// random), none when empty. Throws Error on a name given twice, longer than 256 bytes or equal to
/// "__metadata__", or a source that pushes another number of bytes.
void write_safetensors(const ByteSink& sink, std::vector<TensorSource> tensors,
                       const std::map<std::string, std::string>& metadata);

/// The same into a file, atomically (write_file_streaming).
void write_safetensors(Fs& fs, const std::string& path, std::vector<TensorSource> tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace moe
