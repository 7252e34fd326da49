// SPDX-License-Identifier: MIT
// Pipelines: stages, their commands, and what {name} stands for.
#include "moe/study/pipeline.h"

#include "fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const moe::fuzz::MemoryFile file(moe::fuzz::text(data, size));
  moe::fuzz::read([&] {
    const moe::Pipeline pipeline = moe::read_pipeline(file.path(), {});
    moe::fuzz::require(!pipeline.stages.empty());
  });
  return 0;
}
