// SPDX-License-Identifier: MIT
// Counts what operator new hands out in this test program, so that "at most 4x the file + 1 MiB" is
// measured.
#include <atomic>
#include <cstdlib>
#include <malloc.h>
#include <new>

#include "tests/io/io_testing.h"

namespace {

std::atomic<int64_t> live_bytes{0}, peak_live_bytes{0}, base_bytes{0};

void* count(void* block) {
  if (!block) throw std::bad_alloc();
  const int64_t live = live_bytes += int64_t(malloc_usable_size(block));
  int64_t peak = peak_live_bytes;
  while (live > peak && !peak_live_bytes.compare_exchange_weak(peak, live)) {
  }
  return block;
}
void release(void* block) noexcept {
  if (block) live_bytes -= int64_t(malloc_usable_size(block));
  std::free(block);
}

}  // namespace

void* operator new(size_t n) { return count(std::malloc(n ? n : 1)); }
void* operator new(size_t n, const std::nothrow_t&) noexcept {
  void* block = std::malloc(n ? n : 1);
  return block ? count(block) : nullptr;
}
void* operator new[](size_t n) { return count(std::malloc(n ? n : 1)); }
void* operator new(size_t n, std::align_val_t align) {
  return count(
      std::aligned_alloc(size_t(align), (n + size_t(align) - 1) / size_t(align) * size_t(align)));
}
void operator delete(void* block) noexcept { release(block); }
void operator delete(void* block, const std::nothrow_t&) noexcept { release(block); }
void operator delete[](void* block) noexcept { release(block); }
void operator delete(void* block, size_t) noexcept { release(block); }
void operator delete[](void* block, size_t) noexcept { release(block); }
void operator delete(void* block, std::align_val_t) noexcept { release(block); }
void operator delete(void* block, size_t, std::align_val_t) noexcept { release(block); }

namespace moe {

void AllocationMeter::reset() {
  base_bytes = live_bytes.load();
  peak_live_bytes = live_bytes.load();
}
int64_t AllocationMeter::peak_bytes() { return peak_live_bytes - base_bytes; }

}  // namespace moe
