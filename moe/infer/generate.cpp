// SPDX-License-Identifier: MIT
#include "moe/infer/generate.h"

#include <algorithm>

#include "moe/infer/kv_cache.h"
#include "moe/infer/session.h"

namespace moe {

const char* finish_reason_name(FinishReason reason) {
  return reason == FinishReason::stop ? "stop" : "length";
}

void check_can_generate(const TransformerLM& model) {
  MOE_CHECK(model.causal(false) || model.config().moe.allow_noncausal, "[generate] router '",
            model.config().moe.router,
            "' is not causal: a token's experts depend on later tokens, which do not exist yet "
            "while generating; train with another router, or set "
            "model.moe.allow_noncausal=true to accept routes that differ from training");
}

std::vector<GenerateResult> generate(const TransformerLM& model,
                                     const std::vector<GenerateRequest>& requests,
                                     const OnToken& on_token) {
  check_can_generate(model);
  const int64_t context = model.config().max_seq_len;
  for (const GenerateRequest& r : requests) {
    check_sampler(r.sampler);
    MOE_CHECK(!r.prompt_ids.empty(), "[generate] the prompt is empty; give at least one token");
    MOE_CHECK(int64_t(r.prompt_ids.size()) <= context, "[generate] the prompt has ",
              r.prompt_ids.size(), " tokens, the model's context holds ", context,
              "; shorten the prompt");
    MOE_CHECK(r.max_new_tokens >= 0, "[generate] max_new_tokens is ", r.max_new_tokens,
              ", it must be 0 or more");
  }
  std::vector<GenerateResult> results(requests.size());
  DecodeSession session(model);
  struct Row {
    size_t request;
    int sequence;
    std::vector<int32_t> pending;  // ids to feed next
  };
  std::vector<Row> rows;
  for (size_t i = 0; i < requests.size(); ++i)
    if (requests[i].max_new_tokens > 0)
      rows.push_back({i, session.add_sequence(), requests[i].prompt_ids});

  while (!rows.empty()) {
    std::vector<DecodeSession::Input> inputs;
    for (const Row& row : rows) inputs.push_back({row.sequence, row.pending});
    const Tensor logits_BV = session.feed(inputs);
    std::vector<Row> alive;
    for (size_t b = 0; b < rows.size(); ++b) {
      Row& row = rows[b];
      const GenerateRequest& request = requests[row.request];
      GenerateResult& result = results[row.request];
      const std::span<const float> logits_V =
          logits_BV.rows(int64_t(b), int64_t(b) + 1).data<float>();
      const int32_t id =
          sample_token(logits_V, request.sampler, request.key, session.length(row.sequence));
      bool ended =
          std::find(request.stop_ids.begin(), request.stop_ids.end(), id) != request.stop_ids.end();
      if (!ended) {
        result.ids.push_back(id);
        ended = on_token && !on_token(row.request, id);
      }
      result.reason = ended ? FinishReason::stop : FinishReason::length;
      if (ended || int64_t(result.ids.size()) >= request.max_new_tokens ||
          session.length(row.sequence) >= context) {
        session.release(row.sequence);
        continue;
      }
      row.pending = {id};
      alive.push_back(std::move(row));
    }
    rows = std::move(alive);
  }
  return results;
}

}  // namespace moe
