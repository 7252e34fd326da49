// SPDX-License-Identifier: MIT
// The safetensors reader: opening a file, then copying every tensor that it claims to hold.
#include "moe/io/safetensors.h"

#include "fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return moe::fuzz::read([&] {
    const moe::fuzz::MemoryFile file(moe::fuzz::text(data, size));
    const moe::SafetensorsFile tensors(file.path());
    for (const moe::SafetensorsEntry& entry : tensors.entries()) {
      moe::fuzz::require(tensors.find(entry.name) == &entry);
      moe::fuzz::require(tensors.bytes(entry).size() == entry.bytes);
      moe::fuzz::read([&] { tensors.tensor(entry); });
    }
  });
}
