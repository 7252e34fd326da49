// SPDX-License-Identifier: MIT
// Time behind an interface, so that tests of deadlines, progress and `train.minutes` do not sleep.
#pragma once

#include <cstdint>

namespace moe {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual double monotonic_seconds() = 0;
  virtual double unix_seconds() = 0;
};
Clock& real_clock();

/// A clock that moves when told to.
class ManualClock : public Clock {
 public:
  double monotonic_seconds() override { return now_; }
  double unix_seconds() override { return 1.7e9 + now_; }
  void advance(double seconds) { now_ += seconds; }

 private:
  double now_ = 0;
};

}  // namespace moe
