// SPDX-License-Identifier: MIT
#include "moe/eval/perplexity.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "moe/data/batch.h"
#include "moe/ops/cross_entropy.h"

namespace moe {
namespace {

constexpr int64_t kTokensPerPass = 4096;

}  // namespace

double PerplexityResult::perplexity() const { return std::exp(loss); }
double PerplexityResult::bits_per_byte() const {
  return bytes > 0 ? loss * double(tokens) / (std::numbers::ln2 * double(bytes))
                   : std::numeric_limits<double>::quiet_NaN();
}

PerplexityResult evaluate_ids(const TransformerLM& model, const std::vector<int32_t>& ids,
                              const Tokenizer* tokenizer,
                              const std::function<void(double)>& progress) {
  MOE_CHECK(ids.size() >= 2, "[eval] the data have ", ids.size(), " tokens; at least 2 are needed");
  return evaluate_sequences(model, {ids}, tokenizer, progress);
}

PerplexityResult evaluate_sequences(const TransformerLM& model,
                                    const std::vector<std::vector<int32_t>>& all,
                                    const Tokenizer* tokenizer,
                                    const std::function<void(double)>& progress, int64_t stride) {
  struct Window {
    const std::vector<int32_t>* ids;
    int64_t begin, n, n_context;
  };
  const int64_t longest = model.config().max_seq_len;
  MOE_CHECK(stride >= 0 && stride <= longest, "[eval] a stride of ", stride,
            " tokens; the model's context allows 1 to ", longest);
  if (stride == 0) stride = longest;
  std::vector<Window> windows;
  int64_t n_targets = 0;
  for (const std::vector<int32_t>& ids : all)
    for (int64_t begin = 0, scored = 0; scored + 1 < int64_t(ids.size()); begin += stride) {
      const int64_t n = std::min(longest, int64_t(ids.size()) - 1 - begin);
      windows.push_back({&ids, begin, n, scored - begin});
      n_targets += begin + n - scored;
      scored = begin + n;
    }
  MOE_CHECK(n_targets > 0, "[eval] no sequence has 2 tokens or more, so there is none to predict");
  ops::LossSum sum;
  PerplexityResult result;
  for (size_t w = 0; w < windows.size();) {
    std::vector<std::vector<int32_t>> sequences;
    std::vector<int32_t> targets;
    int64_t n_tokens = 0;
    do {
      const auto first = windows[w].ids->begin() + windows[w].begin;
      sequences.emplace_back(first, first + windows[w].n);
      targets.insert(targets.end(), size_t(windows[w].n_context), Batch::kNotTrained);
      targets.insert(targets.end(), first + 1 + windows[w].n_context, first + 1 + windows[w].n);
      n_tokens += windows[w++].n;
    } while (w < windows.size() && n_tokens + windows[w].n <= kTokensPerPass);
    const LmOutput out = model(pack_sequences(sequences));
    ops::cross_entropy(model.logits(out.hidden_TD),
                       Tensor::from<int32_t>({int64_t(targets.size())}, targets), n_targets, &sum);
    if (tokenizer)
      for (const int32_t id : targets)
        if (id != Batch::kNotTrained && !tokenizer->is_special(id))
          result.bytes += int64_t(tokenizer->token_bytes(id).size());
    if (progress) progress(double(sum.tokens) / double(n_targets));
  }
  result.tokens = sum.tokens;
  result.loss = sum.sum / double(sum.tokens);
  return result;
}

}  // namespace moe
