// SPDX-License-Identifier: MIT
// The thread team. A job is cut into pieces, fixed by the sizes alone; each thread owns a
// contiguous run of them, takes those first and then helps with the others' (which thread computes
// a piece has no influence on a result). So nobody waits for a thread that has lost its core,
// unless it lost it in the middle of a piece: a worker that never came costs nothing but its help.
//
// Workers wait for a new epoch, the caller for the workers that are inside its job. Both spin for
// some tens of microseconds, which covers the gap between two kernels of a step, and then sleep in
// the kernel, which lets it move a waiting thread to the core that came free.
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

/// Tells the core that this is a spin loop.
inline void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

constexpr int kMaxThreads = 1024;
constexpr auto kSpin = std::chrono::microseconds(40);
// Of one thread's share: enough that a thread with half a core leaves most of its share to others.
constexpr int64_t kPiecesPerThread = 4;

/// Place of this thread in the team; 0 for every thread that is no worker.
thread_local int thread_index = 0;
thread_local bool in_range = false;

/// Waits until counter differs from `old`; returns the new value.
uint32_t wait_for_change(const std::atomic<uint32_t>& counter, uint32_t old) {
  uint32_t value = counter.load(std::memory_order_acquire);
  if (value != old) return value;
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 16; ++i) {
      pause_cpu();
      value = counter.load(std::memory_order_acquire);
      if (value != old) return value;
    }
  } while (std::chrono::steady_clock::now() < end);
  while ((value = counter.load(std::memory_order_acquire)) == old)
    counter.wait(old, std::memory_order_acquire);
  return value;
}

class Team {
 public:
  explicit Team(int n_threads) : n_threads_(n_threads), shares_(size_t(n_threads)) {
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
    job_ = {fn, context, n, grain};
    const int64_t n_blocks = n / grain + (n % grain != 0);
    const int64_t n_shares = std::min<int64_t>(n_threads_, n_blocks);
    for (int t = 0; t < n_threads_; ++t) {
      Share& share = shares_[size_t(t)];
      // The first n_blocks % n_shares threads take one block more.
      const int64_t each = n_blocks / n_shares, more = n_blocks % n_shares;
      share.first = t * each + std::min<int64_t>(t, more);
      share.n_blocks = t < n_shares ? each + (t < more ? 1 : 0) : 0;
      share.n_pieces = std::min(share.n_blocks, kPiecesPerThread);
      share.next.store(0, std::memory_order_relaxed);
    }
    state_.store(kOpen, std::memory_order_release);
    epoch_.fetch_add(1, std::memory_order_release);
    epoch_.notify_all();
    run_pieces(0);
    // Closed: no worker comes any more. Those inside finish the piece that they are at.
    uint32_t inside = state_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
    while (inside != 0) inside = wait_for_change(state_, inside);
    failed_block_ = -1;
    if (exception_) std::rethrow_exception(std::exchange(exception_, nullptr));
  }

 private:
  static constexpr uint32_t kOpen = 1u << 31;  // below it: workers inside the job

  struct Job {
    detail::RangeFn fn = nullptr;
    void* context = nullptr;
    int64_t n = 0, grain = 1;
  };
  struct alignas(64) Share {  // own cache line: its thread polls it, others come when they are done
    std::atomic<int64_t> next = 0;  // piece to be taken
    int64_t first = 0, n_blocks = 0, n_pieces = 0;
  };

  void work(int thread) {
    thread_index = thread;
    for (uint32_t epoch = 0;;) {
      epoch = wait_for_change(epoch_, epoch);
      if (stopping_.load(std::memory_order_relaxed)) return;
      uint32_t state = state_.load(std::memory_order_acquire);
      while ((state & kOpen) &&
             !state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) {
      }
      if (!(state & kOpen)) continue;  // came too late for this job
      run_pieces(thread);
      if (state_.fetch_sub(1, std::memory_order_acq_rel) == 1) state_.notify_one();
    }
  }

  void run_pieces(int thread) {
    in_range = true;
    for (int i = 0; i < n_threads_; ++i) {
      Share& share = shares_[size_t((thread + i) % n_threads_)];
      for (int64_t p; share.next.load(std::memory_order_relaxed) < share.n_pieces &&
                      (p = share.next.fetch_add(1, std::memory_order_relaxed)) < share.n_pieces;) {
        // Written so that no product overflows: blocks may number 2^62.
        const int64_t each = share.n_blocks / share.n_pieces,
                      more = share.n_blocks % share.n_pieces;
        const int64_t first = share.first + p * each + std::min(p, more);
        run_blocks(first, first + each + (p < more ? 1 : 0), thread);
      }
    }
    in_range = false;
  }

  void run_blocks(int64_t first, int64_t last, int thread) {
    const int64_t n_blocks = job_.n / job_.grain + (job_.n % job_.grain != 0);
    const int64_t end = last == n_blocks ? job_.n : last * job_.grain;
    try {
      job_.fn(job_.context, first * job_.grain, end, thread);
    } catch (...) {
      const std::lock_guard lock(exception_mutex_);
      if (!exception_ || first < failed_block_) {  // of several, always that of the lowest range
        failed_block_ = first;
        exception_ = std::current_exception();
      }
    }
  }

  void stop() {
    stopping_.store(true, std::memory_order_relaxed);
    epoch_.fetch_add(1, std::memory_order_release);
    epoch_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  const int n_threads_;
  // Job and shares are written while the job is closed and nobody inside, read inside.
  Job job_;
  std::vector<Share> shares_;
  // Own cache lines: workers poll one while they write the other.
  alignas(64) std::atomic<uint32_t> epoch_ = 0;
  alignas(64) std::atomic<uint32_t> state_ = 0;
  alignas(64) std::atomic<bool> stopping_ = false;
  std::mutex exception_mutex_;
  std::exception_ptr exception_;
  int64_t failed_block_ = -1;
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

bool inside_parallel_for() { return in_range; }

void detail::run_parallel(int64_t n, int64_t grain, RangeFn fn, void* context) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  TheTeam& the = the_team();
  if (n <= grain || in_range || the.n_threads == 1) return fn(context, 0, n, thread_index);
  // A second thread of the program that comes while the team is at work does its own work itself.
  const std::unique_lock lock(the.mutex, std::try_to_lock);
  if (!lock) return fn(context, 0, n, thread_index);
  if (!the.team) the.team = std::make_unique<Team>(the.n_threads);
  the.team->run(n, grain, fn, context);
}

}  // namespace moe
