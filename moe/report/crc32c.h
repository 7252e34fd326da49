// SPDX-License-Identifier: MIT
// CRC-32C (Castagnoli, RFC 3720 appendix B.4): the checksum of TensorBoard's record files.
#pragma once

#include <cstdint>
#include <string_view>

namespace moe {

uint32_t crc32c(std::string_view bytes);

/// What record files store instead of the plain value, so that a checksum of data that holds
/// checksums stays useful (tensorflow/core/lib/hash/crc32c.h).
uint32_t masked_crc32c(std::string_view bytes);

}  // namespace moe
