// SPDX-License-Identifier: MIT
// Replaces the global operator new and delete of this test program by counting ones.
#include "allocation_peak.h"

#include <atomic>
#include <cstdlib>
#include <malloc.h>
#include <new>

namespace {

std::atomic<int64_t> live_bytes = 0, peak_bytes = 0;

void* allocate(std::size_t size) noexcept {
  void* p = std::malloc(size == 0 ? 1 : size);
  if (p == nullptr) return nullptr;
  const auto usable = static_cast<int64_t>(::malloc_usable_size(p));
  const int64_t live = live_bytes += usable;
  for (int64_t peak = peak_bytes; live > peak && !peak_bytes.compare_exchange_weak(peak, live);) {
  }
  return p;
}

void release(void* p) noexcept {
  if (p == nullptr) return;
  live_bytes -= static_cast<int64_t>(::malloc_usable_size(p));
  std::free(p);
}

}  // namespace

void* operator new(std::size_t size) {
  if (void* p = allocate(size)) return p;
  throw std::bad_alloc();
}
void* operator new[](std::size_t size) { return operator new(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return allocate(size); }
void operator delete(void* p) noexcept { release(p); }
void operator delete[](void* p) noexcept { release(p); }
void operator delete(void* p, std::size_t) noexcept { release(p); }
void operator delete[](void* p, std::size_t) noexcept { release(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { release(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { release(p); }

namespace moe {

AllocationPeak::AllocationPeak() : start_(live_bytes) { peak_bytes = start_; }
uint64_t AllocationPeak::bytes() const { return static_cast<uint64_t>(peak_bytes - start_); }

}  // namespace moe
