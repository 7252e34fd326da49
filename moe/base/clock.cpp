// SPDX-License-Identifier: MIT
// The clock of this machine.
#include "moe/base/clock.h"

#include <chrono>

namespace moe {
namespace {

class RealClock : public Clock {
 public:
  double monotonic_seconds() override {
    return seconds(std::chrono::steady_clock::now().time_since_epoch());
  }
  double unix_seconds() override {
    return seconds(std::chrono::system_clock::now().time_since_epoch());
  }

 private:
  static double seconds(std::chrono::nanoseconds ns) {
    return static_cast<double>(ns.count()) / 1e9;
  }
};

}  // namespace

Clock& real_clock() {
  static RealClock clock;
  return clock;
}

}  // namespace moe
