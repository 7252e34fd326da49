// SPDX-License-Identifier: MIT
#include "moe/base/parallel.h"

#include <atomic>
#include <gtest/gtest.h>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <tuple>

#include "temp_folder.h"

namespace moe {
namespace {

class Parallel : public ::testing::Test {
 protected:
  ~Parallel() override { set_threads(0); }
};

using Ranges = std::vector<std::tuple<int64_t, int64_t, int>>;

Ranges ranges_of(int64_t n, int64_t grain) {
  std::mutex mutex;
  Ranges ranges;
  parallel_for(n, grain, [&](int64_t begin, int64_t end, int thread) {
    const std::lock_guard lock(mutex);
    ranges.emplace_back(begin, end, thread);
  });
  std::sort(ranges.begin(), ranges.end());
  return ranges;
}

TEST_F(Parallel, RangesCoverEverythingOnceInWholeGrains) {
  for (const int threads : {1, 2, 3, 5})
    for (const int64_t n : {0, 1, 2, 7, 64, 100, 101})
      for (const int64_t grain : {1, 3, 16, 200}) {
        set_threads(threads);
        const Ranges ranges = ranges_of(n, grain);
        ASSERT_LE(ranges.size(), static_cast<size_t>(4 * threads));
        int64_t covered = 0;
        for (const auto& [begin, end, thread] : ranges) {
          ASSERT_EQ(begin, covered);
          ASSERT_GT(end, begin);
          ASSERT_LT(thread, threads);
          ASSERT_TRUE(end == n || (end - begin) % grain == 0);
          covered = end;
        }
        ASSERT_EQ(covered, n);
      }
}

TEST_F(Parallel, ThePartitionDependsOnSizesAlone) {
  set_threads(3);
  const auto without_threads = [](Ranges ranges) {
    for (auto& range : ranges) std::get<2>(range) = 0;
    return ranges;
  };
  const Ranges first = without_threads(ranges_of(1000, 8));
  for (int i = 0; i < 200; ++i) ASSERT_EQ(without_threads(ranges_of(1000, 8)), first);
  EXPECT_EQ(first.size(), 12u);
}

TEST_F(Parallel, WhatAHeldUpThreadHasNotBegunIsDoneByTheOthers) {
  set_threads(2);
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> n_done = 0;
    std::atomic<bool> worker_began = false;
    parallel_for(8, 1, [&](int64_t, int64_t, int thread) {
      if (thread == 0) {  // gives the worker the time to take its first range
        while (!worker_began) std::this_thread::yield();
      } else if (!worker_began.exchange(true)) {
        while (n_done < 7) std::this_thread::yield();  // never, if its share waited for it
      }
      ++n_done;
    });
    ASSERT_EQ(n_done, 8);
  }
}

TEST_F(Parallel, WorkersSeeWhatTheCallerWroteAndTheOtherWayRound) {
  set_threads(4);
  std::vector<int64_t> values(1000);
  for (int round = 0; round < 500; ++round) {
    std::iota(values.begin(), values.end(), round);
    parallel_for(1000, 10, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) values[i] *= 2;
    });
    ASSERT_EQ(std::accumulate(values.begin(), values.end(), int64_t{0}),
              2 * (1000 * round + 499'500));
  }
}

TEST_F(Parallel, ANestedCallRunsInlineInItsThread) {
  set_threads(3);
  std::atomic<int> n_inner = 0;
  parallel_for(3, 1, [&](int64_t, int64_t, int outer_thread) {
    const auto id = std::this_thread::get_id();
    parallel_for(100, 1, [&](int64_t begin, int64_t end, int inner_thread) {
      EXPECT_EQ(std::this_thread::get_id(), id);
      EXPECT_EQ(begin, 0);
      EXPECT_EQ(end, 100);
      EXPECT_EQ(inner_thread, outer_thread);
      ++n_inner;
    });
  });
  EXPECT_EQ(n_inner, 3);
}

TEST_F(Parallel, TheExceptionOfTheLowestRangeArrivesAfterAllRangesAreDone) {
  set_threads(3);
  for (int round = 0; round < 100; ++round) {
    std::atomic<int> n_done = 0;
    std::string message;
    try {
      parallel_for(3, 1, [&](int64_t begin, int64_t) {
        ++n_done;
        if (begin > 0) throw Error(str("range ", begin));
      });
    } catch (const Error& error) {
      message = error.what();
    }
    ASSERT_EQ(message, "range 1");
    ASSERT_EQ(n_done, 3);
  }
  EXPECT_EQ(ranges_of(3, 1).size(), 3u) << "the team works on after an exception";
}

TEST_F(Parallel, ThreadsCanBeChangedAgainAndAgain) {
  for (int round = 0; round < 30; ++round) {
    const int threads = 1 + round % 4;
    set_threads(threads);
    EXPECT_EQ(n_threads(), threads);
    EXPECT_EQ(ranges_of(100, 1).size(), static_cast<size_t>(threads == 1 ? 1 : 4 * threads));
  }
}

TEST_F(Parallel, ANonsensicalNumberOfThreadsIsRefused) {
  EXPECT_EQ(error_of([] { set_threads(-1); }),
            "[parallel] the number of threads is -1, must be 0 (all CPUs) to 1024");
  EXPECT_NE(error_of([] { set_threads(1025); }), "");
  set_threads(0);
  EXPECT_GE(n_threads(), 1);
}

TEST_F(Parallel, SeveralCallersAtOnceGetTheirWorkDone) {
  set_threads(2);
  std::atomic<int64_t> total = 0;
  std::vector<std::thread> callers;
  for (int c = 0; c < 3; ++c)
    callers.emplace_back([&] {
      for (int round = 0; round < 300; ++round)
        parallel_for(64, 4, [&](int64_t begin, int64_t end) { total += end - begin; });
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(total, 3 * 300 * 64);
}

TEST_F(Parallel, NegativeAndHugeSizesAreHarmless) {
  set_threads(3);
  int n_calls = 0;
  parallel_for(-5, 1, [&](int64_t, int64_t) { ++n_calls; });
  EXPECT_EQ(n_calls, 0);
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
  const Ranges ranges = ranges_of(kHuge, 2);
  ASSERT_EQ(ranges.size(), 12u);
  EXPECT_EQ(std::get<1>(ranges.back()), kHuge);
  EXPECT_EQ(ranges_of(10, 0).size(), 10u) << "a grain below 1 counts as 1";
}

}  // namespace
}  // namespace moe
