// SPDX-License-Identifier: MIT
#include "moe/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace moe {

double learning_rate(const OptimConfig& c, int64_t step, int64_t total_steps,
                     double elapsed_fraction) {
  if (step < c.warmup_steps) return c.lr * double(step + 1) / double(c.warmup_steps);
  const double total = double(std::max<int64_t>(1, total_steps)), warmup = double(c.warmup_steps);
  const double now = std::max(double(step), elapsed_fraction * total);
  if (c.schedule == "constant") return c.lr;
  if (c.schedule == "wsd") {
    const double length = c.decay_steps > 0 ? double(c.decay_steps) : 0.2 * total;
    const double x = std::clamp((now - (total - length)) / std::max(1.0, length), 0.0, 1.0);
    return c.min_lr + (c.lr - c.min_lr) * (1 - std::sqrt(x));
  }
  const double end = c.decay_steps > 0 ? double(c.decay_steps) : total;
  // A decay that ends inside the warm-up leaves nothing to come down over.
  const double x = end > warmup ? std::clamp((now - warmup) / (end - warmup), 0.0, 1.0) : 1.0;
  if (c.schedule == "linear") return c.lr + (c.min_lr - c.lr) * x;
  return c.min_lr + 0.5 * (1 + std::cos(std::numbers::pi * x)) * (c.lr - c.min_lr);
}

}  // namespace moe
