// SPDX-License-Identifier: MIT
// Records sorted by a hash without holding them all: what is added is kept in 256 parts by the
// hash's first bits, in memory while it is little, then in files; each part is sorted by itself.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "moe/base/fs.h"

namespace moe {

class RecordSpool {
 public:
  struct Entry {
    uint64_t hash = 0;
    uint32_t kind = 0, file = 0;  // the caller's
    int64_t line = 0;
    std::string_view payload = {};
  };
  /// folder: where the files go when there is more than max_memory bytes; it must exist.
  RecordSpool(Fs& fs, std::string folder, uint64_t max_memory);
  ~RecordSpool();

  void add(const Entry& entry);
  int64_t count() const { return count_; }
  uint64_t largest_hash() const { return largest_hash_; }
  uint64_t bytes() const { return bytes_; }
  /// All entries in the order of their hashes, those with equal ones as they were added. The
  /// payloads live as long as the call of visit_part. To be called once.
  void for_each_part(const std::function<void(std::span<const Entry>)>& visit_part);

 private:
  static constexpr size_t kParts = 256;
  std::string path(size_t part) const;
  void flush();

  Fs& fs_;
  std::string folder_;
  uint64_t max_memory_, in_memory_ = 0, bytes_ = 0, largest_hash_ = 0;
  int64_t count_ = 0;
  std::array<std::string, kParts> parts_;
  std::array<std::unique_ptr<WritableFile>, kParts> files_;
};

}  // namespace moe
