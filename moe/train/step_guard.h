// SPDX-License-Identifier: MIT
// Which optimiser steps are better not taken: those whose loss or gradient is not finite, and those
// whose gradient is far larger than the latest ones.
#pragma once

#include <cstdint>
#include <vector>

#include "moe/base/json.h"

namespace moe {

class StepGuard {
 public:
  /// max_skips 0: nothing is ever skipped. spike_sigmas 0: only what is not finite.
  StepGuard(int64_t max_skips, double spike_sigmas)
      : max_skips_(max_skips), spike_sigmas_(spike_sigmas) {}

  /// Looks at a step before its update, and remembers it. True: skip it.
  bool skips(double loss, double grad_norm);
  bool is_on() const { return max_skips_ > 0; }
  /// So many in a row were skipped that it is time to go back.
  bool gives_up() const { return is_on() && in_a_row_ >= max_skips_; }
  /// The run went back: what came after does not count.
  void start_again(int64_t n_skipped) {
    in_a_row_ = 0;
    n_skipped_ = n_skipped;
  }
  int64_t n_skipped() const { return n_skipped_; }

  JsonObject state() const;
  void load_state(const JsonObject& state, const std::string& what);

  static constexpr size_t kWindow = 100;  // gradient norms that are remembered
  static constexpr size_t kFewest = 20;   // before that nothing is a spike

 private:
  int64_t max_skips_;
  double spike_sigmas_;
  int64_t in_a_row_ = 0, n_skipped_ = 0;
  std::vector<double> norms_;  // of steps that were taken, latest last
};

}  // namespace moe
