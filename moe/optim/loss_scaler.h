// SPDX-License-Identifier: MIT
// Dynamic loss scaling (Micikevicius et al. 2018, arXiv:1710.03740): float16 gradients are small
// enough to vanish, so the loss is multiplied by a power of two before backward and the gradients
// divided by it after. Where they overflow, the step is left out and the factor halved; after so
// many steps without that it is doubled.
#pragma once

#include <cstdint>

#include "moe/base/json.h"

namespace moe {

class LossScaler {
 public:
  /// scale is lowered to a power of two, so that dividing by it is exact. window: steps before the
  /// factor grows; 0: never.
  LossScaler(double scale, int64_t window);

  double scale() const { return scale_; }
  int64_t overflows() const { return overflows_; }
  /// Whether the gradients overflowed and a smaller factor may help: then it is halved, and the
  /// step is to be left out. Below 1 nothing helps, and false is returned.
  bool overflowed(bool gradients_are_finite);

  JsonObject state() const;
  void load_state(const JsonObject& state, const std::string& what);

  static constexpr double kLargest = 1099511627776;  // 2^40

 private:
  double scale_;
  int64_t window_, clean_steps_ = 0, overflows_ = 0;
};

}  // namespace moe
