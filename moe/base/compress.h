// SPDX-License-Identifier: MIT
// Compressed files as a whole: gzip (zlib; several members one after another) and Zstandard.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace moe {

enum class Compression { none, gzip, zstd };
/// By the first bytes.
Compression compression_of(std::string_view bytes);

/// The content; bytes that are not compressed come back as they are. Throws Error when the data is
/// damaged or incomplete, or its content has more than max_bytes (a small file may claim
/// terabytes). what: how errors call the source.
std::string decompress(std::string_view bytes, uint64_t max_bytes, const std::string& what);

/// A raw Snappy block, which says its own size: it must be `size`. Throws Error otherwise, or when
/// it is damaged.
std::string snappy_decompress(std::string_view bytes, uint64_t size, const std::string& what);

}  // namespace moe
