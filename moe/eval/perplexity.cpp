// SPDX-License-Identifier: MIT
#include "moe/eval/perplexity.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

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
  const int64_t window = model.config().max_seq_len, n_targets = int64_t(ids.size()) - 1;
  const int64_t per_pass = std::max<int64_t>(1, kTokensPerPass / window);
  ops::LossSum sum;
  PerplexityResult result;
  for (int64_t begin = 0; begin < n_targets;) {
    std::vector<std::vector<int32_t>> sequences;
    std::vector<int32_t> targets;
    for (int64_t i = 0; i < per_pass && begin < n_targets; ++i) {
      const int64_t n = std::min(window, n_targets - begin);
      sequences.emplace_back(ids.begin() + begin, ids.begin() + begin + n);
      targets.insert(targets.end(), ids.begin() + begin + 1, ids.begin() + begin + 1 + n);
      begin += n;
    }
    const LmOutput out = model(pack_sequences(sequences));
    ops::cross_entropy(model.logits(out.hidden_TD),
                       Tensor::from<int32_t>({int64_t(targets.size())}, targets), n_targets, &sum);
    if (tokenizer)
      for (const int32_t id : targets)
        if (!tokenizer->is_special(id)) result.bytes += int64_t(tokenizer->token_bytes(id).size());
    if (progress) progress(double(begin) / double(n_targets));
  }
  result.tokens = sum.tokens;
  result.loss = sum.sum / double(sum.tokens);
  return result;
}

}  // namespace moe
