// SPDX-License-Identifier: MIT
// A plain generate loop: prompts of unequal lengths run as one batch, and each finished row leaves
// it. Token ids only.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moe/infer/sampler.h"
#include "moe/nn/transformer_lm.h"

namespace moe {

struct GenerateRequest {
  std::vector<int32_t> prompt_ids;  // at least one
  int64_t max_new_tokens = 200;
  SamplerConfig sampler;
  std::vector<int32_t> stop_ids;  // end of text; not part of the result
  /// Which sample of its prompt this is: with the seed and the position it keys the draws, so that
  /// a request's text depends on nothing else in its batch.
  int64_t key = 0;
};

enum class FinishReason { stop, length };
const char* finish_reason_name(FinishReason reason);

struct GenerateResult {
  std::vector<int32_t> ids;  // new ids, without the stop id
  FinishReason reason = FinishReason::length;
};

/// Called with each new id; false ends that request (a stop string, a closed pipe) with reason
/// stop.
using OnToken = std::function<bool(size_t request, int32_t id)>;

/// Throws Error: an empty prompt, ids outside the vocabulary, a prompt that leaves no room within
/// max_seq_len, or a model whose routers see later tokens (unless its config allows that). A
/// request that fills the context ends with reason length.
std::vector<GenerateResult> generate(const TransformerLM& model,
                                     const std::vector<GenerateRequest>& requests,
                                     const OnToken& on_token = {});

/// Throws Error unless every router of the model is causal at inference or its config says
/// allow_noncausal.
void check_can_generate(const TransformerLM& model);

}  // namespace moe
