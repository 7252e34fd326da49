// SPDX-License-Identifier: MIT
// Checked reads from foreign bytes: every access names what it reads and throws Error with the
// offset when it does not fit. Little endian. Sizes are checked without overflow, before anything
// is allocated.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "moe/base/error.h"

namespace moe {

class ByteView {
 public:
  /// what: how errors call the source, e.g. "[npy] path/to/file". bytes must outlive the view.
  ByteView(std::span<const std::byte> bytes, std::string what)
      : bytes_(bytes), what_(std::move(what)) {}
  uint64_t size() const { return bytes_.size(); }
  const std::string& what() const { return what_; }

  std::span<const std::byte> slice(uint64_t offset, uint64_t size, std::string_view field) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset)
      throw Error(str(what_, ": ", field, " wants ", size, " bytes at offset ", offset,
                      ", but the file has ", bytes_.size(), " bytes; it is damaged or incomplete"));
    return bytes_.subspan(offset, size);
  }
  template <class T>
  T read(uint64_t offset, std::string_view field) const {
    static_assert(std::endian::native == std::endian::little);
    T value;
    std::memcpy(&value, slice(offset, sizeof(T), field).data(), sizeof(T));
    return value;
  }
  std::string_view text(uint64_t offset, uint64_t size, std::string_view field) const {
    const auto s = slice(offset, size, field);
    return {reinterpret_cast<const char*>(s.data()), s.size()};
  }

 private:
  std::span<const std::byte> bytes_;
  std::string what_;
};

/// a * b and a + b; throw Error(what) on overflow of uint64_t.
inline uint64_t checked_mul(uint64_t a, uint64_t b, std::string_view what) {
  uint64_t out;
  if (__builtin_mul_overflow(a, b, &out))
    throw Error(str(what, ": ", a, " x ", b, " does not fit in 64 bits"));
  return out;
}
inline uint64_t checked_add(uint64_t a, uint64_t b, std::string_view what) {
  uint64_t out;
  if (__builtin_add_overflow(a, b, &out))
    throw Error(str(what, ": ", a, " + ", b, " does not fit in 64 bits"));
  return out;
}

}  // namespace moe
