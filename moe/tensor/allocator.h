// SPDX-License-Identifier: MIT
// Storage for tensors: 64-byte aligned blocks, kept in free lists by size when released, so that a
// warm step asks the system for nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace moe {

/// At least `bytes` bytes (0 gives a valid pointer), aligned to 64. Throws Error when the system
/// has no more memory. Thread-safe. The block returns to the cache with its last owner.
std::shared_ptr<std::byte> allocate_storage(int64_t bytes);

/// How many bytes allocate_storage(bytes) takes: sizes are rounded, so that blocks fit again.
int64_t storage_bytes(int64_t bytes);

/// Gives cached free blocks back to the system.
void release_cached_storage();

}  // namespace moe
