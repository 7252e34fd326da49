// SPDX-License-Identifier: MIT
#include "moe/infer/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "moe/base/error.h"
#include "moe/base/rng.h"

namespace moe {
namespace {

void check(bool ok, const char* what, double value, const char* wanted) {
  if (!ok)
    throw Error(str("[sampler] ", what, " is ", value, ", it must be ", wanted), ExitCode::usage);
}

}  // namespace

void check_sampler(const SamplerConfig& c) {
  check(c.temperature >= 0 && std::isfinite(c.temperature), "temperature", c.temperature,
        "0 (greedy) or more");
  check(c.top_k >= 0, "top-k", double(c.top_k), "0 (off) or more");
  check(c.top_p > 0 && c.top_p <= 1, "top-p", c.top_p, "above 0 and at most 1 (off)");
  check(c.min_p >= 0 && c.min_p <= 1, "min-p", c.min_p, "from 0 (off) to 1");
}

int32_t sample_token(std::span<const float> logits_V, const SamplerConfig& c, int64_t request,
                     int64_t position) {
  int32_t best = -1;
  for (size_t i = 0; i < logits_V.size(); ++i) {
    if (std::isnan(logits_V[i]))
      throw Error(
          "[sampler] a logit is not a number; the model's weights are damaged or training "
          "diverged");
    if (best < 0 || logits_V[i] > logits_V[size_t(best)]) best = int32_t(i);
  }
  if (best < 0 || !std::isfinite(logits_V[size_t(best)]))
    throw Error("[sampler] no token has a finite logit");
  if (c.temperature == 0) return best;

  // Falling logits; ties: lower id.
  std::vector<int32_t> order(logits_V.size());
  std::iota(order.begin(), order.end(), 0);
  auto before = [&](int32_t a, int32_t b) {
    return logits_V[size_t(a)] != logits_V[size_t(b)] ? logits_V[size_t(a)] > logits_V[size_t(b)]
                                                      : a < b;
  };
  size_t keep = order.size();
  if (c.top_k > 0 && size_t(c.top_k) < keep) {
    keep = size_t(c.top_k);
    std::nth_element(order.begin(), order.begin() + int64_t(keep), order.end(), before);
    order.resize(keep);
  }
  std::sort(order.begin(), order.end(), before);

  std::vector<double> weight(keep);
  double total = 0;
  const double top = double(logits_V[size_t(order[0])]);
  for (size_t i = 0; i < keep; ++i)
    total += weight[i] = std::exp((double(logits_V[size_t(order[i])]) - top) / c.temperature);
  // A token stays while the mass before it is below top_p, and while it reaches min_p of the best
  // one's probability.
  double mass = 0, kept_total = 0;
  size_t kept = 0;
  for (; kept < keep; ++kept) {
    if (kept > 0 && (mass >= c.top_p * total || weight[kept] < c.min_p * weight[0])) break;
    mass += weight[kept];
    kept_total += weight[kept];
  }
  std::vector<std::pair<int32_t, double>> by_id;
  for (size_t i = 0; i < kept; ++i) by_id.emplace_back(order[i], weight[i]);
  std::sort(by_id.begin(), by_id.end());
  const double u =
      Rng{c.seed, uint64_t(request)}.stream("sample").uniform(position, 0) * kept_total;
  double sum = 0;
  for (const auto& [id, w] : by_id) {
    sum += w;
    if (u < sum) return id;
  }
  return by_id.back().first;
}

}  // namespace moe
