// SPDX-License-Identifier: MIT
// What ties the fast tables to the reference: run a kernel on every table and with several numbers
// of threads, and compare bit for bit.
#pragma once

#include <bit>
#include <cstdint>
#include <gtest/gtest.h>
#include <limits>
#include <span>

#include "moe/base/parallel.h"
#include "moe/base/rng.h"
#include "moe/base/str.h"
#include "moe/kernels/kernels.h"

#include "guarded.h"

namespace moe::testing {

/// f(table) for every fast table that this machine runs.
template <class F>
void for_each_table(F f) {
  for (const Kernels* table : cpu_kernels()) {
    SCOPED_TRACE(table->name);
    f(*table);
  }
}

/// f(table) for every fast table with 1, 2 and 3 threads.
template <class F>
void for_each_table_and_threads(F f) {
  for (const int threads : {1, 2, 3}) {
    SCOPED_TRACE(str(threads, " threads"));
    set_threads(threads);
    for_each_table(f);
  }
  set_threads(0);
}

enum class Fill {
  normal,
  special
};  // special: every fourth value is a zero, a denormal, infinite, NaN or huge

inline Guarded<float> random_floats(int64_t n, uint64_t seed, Fill fill = Fill::normal) {
  using Limits = std::numeric_limits<float>;
  constexpr float kSpecial[] = {
      0.0f,          -0.0f,  Limits::denorm_min(), -Limits::denorm_min(), Limits::min(),
      -1e-38f,       1e-20f, Limits::infinity(),   -Limits::infinity(),   Limits::quiet_NaN(),
      Limits::max(), -1e38f};
  const RngStream rng(seed, 0, "kernel test");
  Guarded<float> x(n);
  for (int64_t i = 0; i < n; ++i)
    x[i] = fill == Fill::special && rng.below(4, i, 0) == 0
               ? kSpecial[rng.below(std::size(kSpecial), i, 1)]
               : float(rng.uniform(i, 2) * 2 - 1);
  return x;
}

/// Equal bits, or both NaN.
inline bool same_float(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (a != a && b != b);
}

inline void expect_same(const Guarded<float>& got, const Guarded<float>& want, const char* what) {
  ASSERT_EQ(got.size(), want.size());
  int64_t differing = 0, first = -1;
  for (int64_t i = 0; i < got.size(); ++i)
    if (!same_float(got[i], want[i])) {
      if (first < 0) first = i;
      ++differing;
    }
  EXPECT_EQ(differing, 0) << what << ": first at " << first << " of " << got.size() << ": "
                          << got[first < 0 ? 0 : first] << ", reference "
                          << want[first < 0 ? 0 : first];
}

}  // namespace moe::testing
