// SPDX-License-Identifier: MIT
#include "moe/tensor/allocator.h"

#include <atomic>
#include <bit>
#include <cstdlib>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <vector>

#include "moe/base/error.h"
#include "moe/tensor/tensor.h"

namespace moe {
namespace {

struct Cache {
  std::mutex mutex;
  std::map<int64_t, std::vector<std::byte*>> free_blocks;  // by rounded size
  std::atomic<int64_t> in_use{0}, peak{0}, system_allocations{0};
};

// Never destroyed: tensors with static storage may be released after main.
Cache& cache() {
  static Cache* instance = new Cache;
  return *instance;
}

// Sizes are rounded so that shapes which differ a little share blocks: to 64 bytes below 4 KiB,
// else to an eighth of the power of two below (at most 12.5 % waste).
int64_t rounded(int64_t bytes) {
  if (bytes < 4096) return (bytes + 63) / 64 * 64 + (bytes == 0 ? 64 : 0);
  const int64_t step = int64_t(std::bit_floor(uint64_t(bytes)) / 8);
  return (bytes + step - 1) / step * step;
}

constexpr int64_t kHugePage = int64_t{2} << 20;

void release(std::byte* block, int64_t size) {
  Cache& c = cache();
  c.in_use -= size;
  const std::lock_guard lock(c.mutex);
  c.free_blocks[size].push_back(block);
}

}  // namespace

int64_t storage_bytes(int64_t bytes) { return rounded(bytes); }

std::shared_ptr<std::byte> allocate_storage(int64_t bytes) {
  MOE_CHECK(bytes >= 0 && bytes < (int64_t{1} << 46), "[tensor] ", bytes, " bytes asked for");
  const int64_t size = rounded(bytes);
  Cache& c = cache();
  std::byte* block = nullptr;
  {
    const std::lock_guard lock(c.mutex);
    auto it = c.free_blocks.find(size);
    if (it != c.free_blocks.end() && !it->second.empty()) {
      block = it->second.back();
      it->second.pop_back();
    }
  }
  if (!block) {
    const size_t alignment = size >= kHugePage ? size_t(kHugePage) : 64;
    void* memory = nullptr;
    if (posix_memalign(&memory, alignment, size_t(size)) != 0) {
      release_cached_storage();
      if (posix_memalign(&memory, alignment, size_t(size)) != 0)
        throw Error(str("[tensor] out of memory: ", human_bytes(uint64_t(size)),
                        " more were asked for; ", "use a smaller model, batch or sequence length"));
    }
    if (size >= kHugePage) madvise(memory, size_t(size), MADV_HUGEPAGE);
    block = static_cast<std::byte*>(memory);
    c.system_allocations++;
  }
  const int64_t now = c.in_use += size;
  for (int64_t peak = c.peak; now > peak && !c.peak.compare_exchange_weak(peak, now);) {
  }
  return {block, [size](std::byte* p) { release(p, size); }};
}

void release_cached_storage() {
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  for (auto& [size, blocks] : c.free_blocks)
    for (std::byte* block : blocks) std::free(block);
  c.free_blocks.clear();
}

int64_t tensor_bytes_in_use() { return cache().in_use; }
int64_t tensor_bytes_peak() { return cache().peak; }
void reset_tensor_bytes_peak() { cache().peak = cache().in_use.load(); }
int64_t tensor_system_allocations() { return cache().system_allocations; }

}  // namespace moe
