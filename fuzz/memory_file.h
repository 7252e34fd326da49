// SPDX-License-Identifier: MIT
// What the fuzz targets share: their input as text or as a file in memory, and the one exception
// that a reader may throw. Anything else (another exception, a sanitizer's finding, a large
// allocation) is a bug.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <sys/mman.h>
#include <unistd.h>

#include "moe/base/error.h"

namespace moe::fuzz {

/// A regular file without a name on any disk; path() opens it as long as the object lives.
class MemoryFile {
 public:
  explicit MemoryFile(std::string_view bytes) : fd_(memfd_create("fuzz", MFD_CLOEXEC)) {
    if (fd_ < 0) std::abort();
    while (!bytes.empty()) {
      const ssize_t n = write(fd_, bytes.data(), bytes.size());
      if (n <= 0) std::abort();
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }
  ~MemoryFile() { close(fd_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

inline std::string_view text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// A property that holds for every input that a reader accepts.
inline void require(bool property) {
  if (!property) std::abort();
}

/// Calls the reader; an Error is the right answer to most inputs.
template <class Reader>
int read(Reader&& reader) {
  try {
    reader();
  } catch (const Error&) {
  }
  return 0;
}

}  // namespace moe::fuzz
