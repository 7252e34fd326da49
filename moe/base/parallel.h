// SPDX-License-Identifier: MIT
// One team of threads for the whole process. Work is cut into contiguous ranges that depend on the
// sizes and the number of threads alone; which thread computes a range depends on who is free. No
// result may depend on either (kernels split outputs, never a sum).
#pragma once

#include <cstdint>
#include <type_traits>

namespace moe {

/// Number of threads used by parallel_for; set_threads(0) takes the number of CPUs this process may
/// run on. Not to be called while a parallel_for runs. Throws Error for n < 0 or n > 1024.
void set_threads(int n);
int n_threads();

/// Whether this thread is inside a range of a parallel_for.
bool inside_parallel_for();

namespace detail {
using RangeFn = void (*)(void* context, int64_t begin, int64_t end, int thread);
void run_parallel(int64_t n, int64_t grain, RangeFn fn, void* context);
}  // namespace detail

/// Calls f(begin, end) or f(begin, end, thread) on disjoint ranges that cover [0, n), each a
/// multiple of `grain` long but the last, a few ranges a thread; `thread` is 0 ... n_threads() - 1
/// and no two calls at the same time have the same. Runs inline when there is one thread, n <=
/// grain, or inside another parallel_for. The team spins briefly, then sleeps. The first exception
/// thrown by f is rethrown here, after all ranges are done.
template <class F>
void parallel_for(int64_t n, int64_t grain, F&& f) {
  using Fn = std::remove_reference_t<F>;
  detail::run_parallel(
      n, grain,
      [](void* context, int64_t begin, int64_t end, int thread) {
        if constexpr (std::is_invocable_v<Fn&, int64_t, int64_t, int>)
          (*static_cast<Fn*>(context))(begin, end, thread);
        else
          (*static_cast<Fn*>(context))(begin, end);
      },
      const_cast<void*>(static_cast<const void*>(&f)));
}

}  // namespace moe
