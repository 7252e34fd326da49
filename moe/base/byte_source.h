// SPDX-License-Identifier: MIT
// A file read once from its begin to its end, decompressed on the way: for data that need not fit
// into memory.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace moe {

class ByteSource {
 public:
  /// gzip and zstd are told by the first bytes. Throws Error when the file is missing or is not a
  /// regular file.
  explicit ByteSource(const std::string& path);
  ~ByteSource();
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  /// The next bytes, at most out.size() of them; 0 at the end. Throws Error when compressed data is
  /// damaged or ends too early.
  size_t read(std::span<char> out);
  /// Bytes of the file that were read so far, compressed ones as they lie there; its size.
  uint64_t bytes_read() const { return bytes_read_; }
  uint64_t file_bytes() const { return file_bytes_; }

 private:
  class Decoder;
  class Plain;
  class Gzip;
  class Zstd;

  /// Moves what is left to the front of buffer_ and reads on behind it.
  void refill();

  std::string path_;
  int fd_ = -1;
  uint64_t file_bytes_ = 0, bytes_read_ = 0;
  std::string buffer_;       // bytes of the file that no decoder has taken yet ...
  size_t at_ = 0, end_ = 0;  // ... which are these of it
  std::unique_ptr<Decoder> decoder_;
};

}  // namespace moe
