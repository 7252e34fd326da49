// SPDX-License-Identifier: MIT
// Token files (see token_shards.h).
#include "moe/io/token_shards.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <limits>

#include "moe/base/error.h"
#include "moe/base/str.h"

namespace moe {
namespace {

// A hostile header may put the data at any byte, so ids are copied out, not dereferenced.
template <class T>
int64_t load(const std::byte* data, int64_t i) {
  T value;
  std::memcpy(&value, data + i * int64_t(sizeof(T)), sizeof(T));
  return int64_t(value);
}

int64_t load(DType dtype, const std::byte* data, int64_t i) {
  switch (dtype) {
    case DType::u16: return load<uint16_t>(data, i);
    case DType::u32: return load<uint32_t>(data, i);
    case DType::i32: return load<int32_t>(data, i);
    default: return load<int64_t>(data, i);
  }
}

}  // namespace

TokenFile::TokenFile(const std::string& path, DType bin_dtype) : path_(path), dtype_(bin_dtype) {
  if (ends_with(path, ".npy")) {
    npy_ = std::make_unique<NpyFile>(path);
    dtype_ = npy_->dtype();
    const Shape& shape = npy_->shape();
    MOE_CHECK(dtype_ == DType::u16 || dtype_ == DType::u32 || dtype_ == DType::i32 ||
                  dtype_ == DType::i64,
              "[tokens] ", path, ": ids of type ", dtype_name(dtype_),
              "; save them as uint16, uint32, int32 or int64");
    MOE_CHECK(shape.rank() == 1 || shape.rank() == 2, "[tokens] ", path, ": shape ", shape.text(),
              "; ids are a flat list or [sequences, length]");
    size_ = shape.numel();
    sequence_length_ = shape.rank() == 2 ? shape[1] : 0;
    bytes_ = npy_->bytes();
  } else {
    MOE_CHECK(ends_with(path, ".bin"), "[tokens] ", path,
              ": token files are called .npy or .bin; text belongs in data.path with a tokenizer");
    MOE_CHECK(bin_dtype == DType::u16 || bin_dtype == DType::u32, "[tokens] ", path,
              ": a .bin holds U16 or U32, not ", dtype_name(bin_dtype));
    bin_ = std::make_unique<MmapFile>(path);
    bytes_ = bin_->bytes();
    const auto id_bytes = size_t(dtype_bytes(dtype_));
    MOE_CHECK(bytes_.size() % id_bytes == 0, "[tokens] ", path, ": ", bytes_.size(),
              " bytes are no whole number of ", dtype_name(dtype_),
              " ids; it is incomplete or of another type");
    size_ = int64_t(bytes_.size() / id_bytes);
  }
  MOE_CHECK(size_ > 0, "[tokens] ", path, ": it holds no token ids");
}

int64_t TokenFile::id(int64_t i) const {
  assert(i >= 0 && i < size_ && "token index out of range");
  return load(dtype_, bytes_.data(), i);
}

int64_t TokenFile::max_id() const {
  int64_t max = 0;
  for (int64_t i = 0; i < size_; ++i) {
    const int64_t id = load(dtype_, bytes_.data(), i);
    MOE_CHECK(id >= 0, "[tokens] ", path_, ": id ", id, " at position ", i, " is negative");
    max = std::max(max, id);
  }
  return max;
}

void TokenFile::check_ids(int64_t vocab_size) const {
  for (int64_t i = 0; i < size_; ++i) {
    const int64_t id = load(dtype_, bytes_.data(), i);
    MOE_CHECK(id >= 0 && id < vocab_size, "[tokens] ", path_, ": id ", id, " at position ", i,
              " is not in [0, ", vocab_size, "), the model's vocabulary");
  }
}

}  // namespace moe
