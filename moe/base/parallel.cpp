// SPDX-License-Identifier: MIT
// The thread team: workers wait on one epoch counter, the caller on one counter of unfinished
// workers. Both spin for some tens of microseconds, which covers the gap between two kernels of a
// step, and then sleep in the kernel.
#include "moe/base/parallel.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <sched.h>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "moe/base/error.h"

namespace moe {
namespace {

constexpr int kMaxThreads = 1024;
constexpr auto kSpin = std::chrono::microseconds(40);

/// Place of this thread in the team; 0 for every thread that is no worker.
thread_local int thread_index = 0;
thread_local bool inside_parallel_for = false;

/// Waits until counter differs from `old`; returns the new value.
uint32_t wait_for_change(const std::atomic<uint32_t>& counter, uint32_t old) {
  uint32_t value = counter.load(std::memory_order_acquire);
  if (value != old) return value;
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    // Gives the core away when somebody else wants it, which a bare loop would not.
    std::this_thread::yield();
    value = counter.load(std::memory_order_acquire);
    if (value != old) return value;
  } while (std::chrono::steady_clock::now() < end);
  while ((value = counter.load(std::memory_order_acquire)) == old)
    counter.wait(old, std::memory_order_acquire);
  return value;
}

class Team {
 public:
  explicit Team(int n_threads) : n_threads_(n_threads) {
    try {
      for (int t = 1; t < n_threads; ++t) workers_.emplace_back([this, t] { work(t); });
    } catch (const std::system_error& error) {
      stop();
      throw Error(str("[parallel] cannot start ", n_threads, " threads: ", error.what(),
                      "; ask for fewer with --threads"));
    }
  }
  ~Team() { stop(); }
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  /// One caller at a time.
  void run(int64_t n, int64_t grain, detail::RangeFn fn, void* context) {
    job_ = {fn, context, n, grain, n / grain + (n % grain != 0)};
    n_busy_.store(static_cast<uint32_t>(workers_.size()), std::memory_order_relaxed);
    epoch_.fetch_add(1, std::memory_order_release);
    epoch_.notify_all();
    run_range(0);
    for (uint32_t n_busy = n_busy_.load(std::memory_order_acquire); n_busy != 0;)
      n_busy = wait_for_change(n_busy_, n_busy);
    failed_thread_ = kMaxThreads;
    if (exception_) std::rethrow_exception(std::exchange(exception_, nullptr));
  }

 private:
  struct Job {
    detail::RangeFn fn = nullptr;
    void* context = nullptr;
    int64_t n = 0, grain = 1, n_blocks = 0;
  };

  void work(int thread) {
    thread_index = thread;
    for (uint32_t epoch = 0;;) {
      epoch = wait_for_change(epoch_, epoch);
      if (stopping_.load(std::memory_order_relaxed)) return;
      run_range(thread);
      if (n_busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) n_busy_.notify_one();
    }
  }

  void run_range(int thread) {
    const int64_t n_parts = std::min<int64_t>(n_threads_, job_.n_blocks);
    if (thread >= n_parts) return;
    // The first n_blocks % n_parts threads take one block more.
    const int64_t each = job_.n_blocks / n_parts, more = job_.n_blocks % n_parts;
    const int64_t first = thread * each + std::min<int64_t>(thread, more);
    const int64_t last = first + each + (thread < more ? 1 : 0);
    const int64_t end = last == job_.n_blocks ? job_.n : last * job_.grain;
    inside_parallel_for = true;
    try {
      job_.fn(job_.context, first * job_.grain, end, thread);
    } catch (...) {
      const std::lock_guard lock(exception_mutex_);
      if (thread < failed_thread_) {  // of several, always the one of the lowest range
        failed_thread_ = thread;
        exception_ = std::current_exception();
      }
    }
    inside_parallel_for = false;
  }

  void stop() {
    stopping_.store(true, std::memory_order_relaxed);
    epoch_.fetch_add(1, std::memory_order_release);
    epoch_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  const int n_threads_;
  Job job_;  // written before epoch_ moves, read after
  // Own cache lines: workers poll one while they write the other.
  alignas(64) std::atomic<uint32_t> epoch_ = 0;
  alignas(64) std::atomic<uint32_t> n_busy_ = 0;
  std::atomic<bool> stopping_ = false;
  std::mutex exception_mutex_;
  std::exception_ptr exception_;
  int failed_thread_ = kMaxThreads;
  std::vector<std::thread> workers_;  // last: starts when everything above is ready
};

int n_available_cpus() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  const int n = sched_getaffinity(0, sizeof cpus, &cpus) == 0
                    ? CPU_COUNT(&cpus)  // fails above 1,024 CPUs
                    : static_cast<int>(std::thread::hardware_concurrency());
  return std::clamp(n, 1, kMaxThreads);
}

/// The process's team, made when first needed and joined at exit.
struct TheTeam {
  std::mutex mutex;
  std::unique_ptr<Team> team;
  std::atomic<int> n_threads = n_available_cpus();
};

TheTeam& the_team() {
  static TheTeam team;
  return team;
}

}  // namespace

void set_threads(int n) {
  MOE_CHECK(n >= 0 && n <= kMaxThreads, "[parallel] the number of threads is ", n,
            ", must be 0 (all CPUs) to ", kMaxThreads);
  TheTeam& the = the_team();
  const std::lock_guard lock(the.mutex);
  const int n_threads = n == 0 ? n_available_cpus() : n;
  if (n_threads == the.n_threads) return;
  the.team.reset();
  the.n_threads = n_threads;
}

int n_threads() { return the_team().n_threads; }

void detail::run_parallel(int64_t n, int64_t grain, RangeFn fn, void* context) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  TheTeam& the = the_team();
  if (n <= grain || inside_parallel_for || the.n_threads == 1)
    return fn(context, 0, n, thread_index);
  // A second thread of the program that comes while the team is at work does its own work itself.
  const std::unique_lock lock(the.mutex, std::try_to_lock);
  if (!lock) return fn(context, 0, n, thread_index);
  if (!the.team) the.team = std::make_unique<Team>(the.n_threads);
  the.team->run(n, grain, fn, context);
}

}  // namespace moe
