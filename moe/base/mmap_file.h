// SPDX-License-Identifier: MIT
// A file mapped read-only. The size is taken once, at open; a ByteView over it is the only way to
// read it.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace moe {

class MmapFile {
 public:
  /// Throws Error when the file is missing, is not a regular file or cannot be mapped. An empty
  /// file gives an empty span.
  explicit MmapFile(const std::string& path);
  ~MmapFile();
  MmapFile(const MmapFile&) = delete;
  MmapFile& operator=(const MmapFile&) = delete;
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace moe
