// SPDX-License-Identifier: MIT
// Pre-tokenised training data on disk, mapped, never copied: .npy of u16, u32, i32 or i64, flat or
// [sequences, length], and headerless .bin of u16 or u32 (nanoGPT's train.bin).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "moe/base/mmap_file.h"
#include "moe/io/npy.h"
#include "moe/tensor/dtype.h"

namespace moe {

class TokenFile {
 public:
  /// .npy says its own type; a .bin is read as bin_dtype (u16 or u32). Throws Error on another
  /// extension or type, a .bin that is no whole number of ids, or a file without ids.
  explicit TokenFile(const std::string& path, DType bin_dtype = DType::u16);

  const std::string& path() const { return path_; }
  DType dtype() const { return dtype_; }
  /// Number of ids, all sequences together.
  int64_t size() const { return size_; }
  /// Ids per sequence, 0 when the file is one flat stream.
  int64_t sequence_length() const { return sequence_length_; }
  /// The i-th id, 0 <= i < size(); sequences one after another. May be negative in a file of signed
  /// numbers.
  int64_t id(int64_t i) const;

  /// The largest id. One pass over the file. Throws Error when an id is negative, naming the
  /// position.
  int64_t max_id() const;
  /// Throws Error naming the first id that is not in [0, vocab_size) and its position. One pass
  /// over the file.
  void check_ids(int64_t vocab_size) const;

 private:
  std::string path_;
  std::unique_ptr<NpyFile> npy_;
  std::unique_ptr<MmapFile> bin_;
  std::span<const std::byte> bytes_;
  DType dtype_ = DType::u16;
  int64_t size_ = 0;
  int64_t sequence_length_ = 0;
};

}  // namespace moe
