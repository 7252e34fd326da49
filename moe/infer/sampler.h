// SPDX-License-Identifier: MIT
// Choosing the next token from logits: temperature, top-k, top-p (Holtzman et al. 2019,
// arXiv:1904.09751), min-p (Nguyen et al. 2024, arXiv:2407.01082), in Hugging Face's order; then
// one counter-based draw, so that a request's tokens do not depend on its batch.
#pragma once

#include <cstdint>
#include <span>

namespace moe {

struct SamplerConfig {
  double temperature = 0.8;  // 0: greedy
  int64_t top_k = 50;        // 0: off
  double top_p = 0.95;       // 1: off
  double min_p = 0;          // 0: off
  uint64_t seed = 1;
};

/// Throws Error (ExitCode::usage) naming the field that is out of range.
void check_sampler(const SamplerConfig& config);

/// The chosen id. The seed, request (GenerateRequest::key: 0, or 1, 2 ... for further samples of
/// the same prompt) and position key the draw, nothing else; ids are drawn by inverse CDF in
/// ascending order. Greedy: the largest logit, ties: lower id. Throws Error when no logit is a
/// number.
int32_t sample_token(std::span<const float> logits_V, const SamplerConfig& config, int64_t request,
                     int64_t position);

}  // namespace moe
