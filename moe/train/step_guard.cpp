// SPDX-License-Identifier: MIT
#include "moe/train/step_guard.h"

#include <cmath>

namespace moe {

bool StepGuard::skips(double loss, double grad_norm) {
  if (!is_on()) return false;
  bool bad = !std::isfinite(loss) || !std::isfinite(grad_norm);
  if (!bad && spike_sigmas_ > 0 && norms_.size() >= kFewest) {
    double mean = 0, square = 0;
    for (const double n : norms_) mean += n / double(norms_.size());
    for (const double n : norms_) square += (n - mean) * (n - mean) / double(norms_.size());
    bad = grad_norm > mean + spike_sigmas_ * std::sqrt(square);
  }
  if (bad) {
    ++in_a_row_;
    ++n_skipped_;
    return true;
  }
  in_a_row_ = 0;
  norms_.push_back(grad_norm);
  if (norms_.size() > kWindow) norms_.erase(norms_.begin());
  return false;
}

JsonObject StepGuard::state() const {
  return {{"in_a_row", in_a_row_},
          {"skipped", n_skipped_},
          {"norms", JsonArray(norms_.begin(), norms_.end())}};
}

void StepGuard::load_state(const JsonObject& state, const std::string& what) {
  const JsonReader reader(state, what + ": guard");
  in_a_row_ = reader.integer_or("in_a_row", 0);
  n_skipped_ = reader.integer_or("skipped", 0);
  norms_.clear();
  if (!reader.has("norms")) return;
  const JsonArray* norms = reader.at("norms").if_array();
  if (!norms) return;
  for (const Json& n : *norms)
    if (n.is_number() && norms_.size() < kWindow) norms_.push_back(n.to_number<double>());
}

}  // namespace moe
