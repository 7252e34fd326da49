// SPDX-License-Identifier: MIT
// Where the time of a step goes: a twin of a kernel table whose entries add up the seconds that
// each kernel takes. No kernel and no op knows of it.
#pragma once

#include <string>
#include <vector>

#include "moe/kernels/kernels.h"

namespace moe {

/// While one lives, the float32 table in use is timed. One at a time; calls must come from one
/// thread. Kernels that run inside a range of a parallel_for (Muon's) are not counted: their time
/// is part of "other".
class KernelTimer {
 public:
  KernelTimer();
  ~KernelTimer();
  KernelTimer(const KernelTimer&) = delete;
  KernelTimer& operator=(const KernelTimer&) = delete;

  struct Phase {
    std::string name;  // "grouped_gemm", "attention_fwd" ...
    double seconds = 0;
    int64_t calls = 0;
  };
  /// Since the last reset, largest first; phases without calls are left out.
  std::vector<Phase> phases() const;
  void reset();
  /// How many entries of the table are timed: all of them.
  static int n_entries();

 private:
  const Kernels& original_;
};

}  // namespace moe
