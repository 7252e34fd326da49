// SPDX-License-Identifier: MIT
#include "moe/optim/loss_scaler.h"

#include <algorithm>
#include <cmath>

#include "moe/base/error.h"

namespace moe {
namespace {

double power_of_two(double x) { return std::exp2(std::floor(std::log2(x))); }

}  // namespace

LossScaler::LossScaler(double scale, int64_t window)
    : scale_(power_of_two(std::clamp(scale, 1.0, kLargest))), window_(window) {}

bool LossScaler::overflowed(bool gradients_are_finite) {
  if (gradients_are_finite) {
    if (window_ > 0 && ++clean_steps_ >= window_) {
      scale_ = std::min(2 * scale_, kLargest);
      clean_steps_ = 0;
    }
    return false;
  }
  if (scale_ <= 1) return false;
  scale_ /= 2;
  clean_steps_ = 0;
  ++overflows_;
  return true;
}

JsonObject LossScaler::state() const {
  return {{"scale", scale_}, {"clean_steps", clean_steps_}, {"overflows", overflows_}};
}

void LossScaler::load_state(const JsonObject& state, const std::string& what) {
  const JsonReader reader(state, what + ": loss_scaler");
  const double scale = reader.number("scale");
  MOE_CHECK(scale >= 1 && scale <= kLargest, what, ": a loss scale of ", scale);
  scale_ = power_of_two(scale);
  clean_steps_ = std::max<int64_t>(0, reader.integer_or("clean_steps", 0));
  overflows_ = std::max<int64_t>(0, reader.integer_or("overflows", 0));
}

}  // namespace moe
