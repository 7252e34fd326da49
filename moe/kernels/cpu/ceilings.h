// SPDX-License-Identifier: MIT
// What this machine can do at this moment: multiply-adds that stay in registers, and a plain read
// of memory. The clock of a shared machine swings and neighbours take time, so a ceiling is sampled
// beside each run of what is measured, and only ratios of one run compare.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace moe {

/// Loops for the instruction set of one kernel table ("cpu-avx512", "cpu-avx2", "cpu-neon"; any
/// other name takes the best of this machine).
class Ceilings {
 public:
  explicit Ceilings(std::string_view table);

  /// Floating-point operations per second of all threads together, over about 50 us.
  double multiply_add_sample() const;
  /// Bytes per second of all threads reading n floats, each thread its own contiguous part.
  double read_sample(const float* x, int64_t n) const;
  /// Reads n floats on this thread.
  void read(const float* x, int64_t n) const { read_floats_(x, n); }

 private:
  double (*multiply_add_chains_)(int64_t steps);
  void (*read_floats_)(const float* x, int64_t n);
};

double seconds_of(const std::function<void()>& f);
/// Of values that may stand in any order; 0 of none.
double median(std::vector<double> values);
/// The p-quantile, 0 <= p <= 1, of values in any order.
double quantile(std::vector<double> values, double p);

}  // namespace moe
