// SPDX-License-Identifier: MIT
// The .npy reader: opening a file, then copying the array that it claims to hold.
#include "moe/io/npy.h"

#include "fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return moe::fuzz::read([&] {
    const moe::fuzz::MemoryFile file(moe::fuzz::text(data, size));
    moe::read_npy(file.path());
  });
}
