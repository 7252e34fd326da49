// SPDX-License-Identifier: MIT
#include "moe/data/demo_windows.h"

#include "moe/base/error.h"

namespace moe {

DemoWindows::DemoWindows(uint64_t seed, Split split, std::shared_ptr<const Tokenizer> tokenizer,
                         int64_t seq_len, int64_t n_windows)
    : corpus_(seed),
      split_(split),
      tokenizer_(std::move(tokenizer)),
      seq_len_(seq_len),
      n_windows_(n_windows) {
  MOE_CHECK(seq_len >= 1 && seq_len <= (int64_t{1} << 20), "[demo] seq_len ", seq_len,
            " is not in 1 .. 2^20");
  MOE_CHECK(n_windows >= 1 && n_windows <= kEndless, "[demo] ", n_windows,
            " windows are not in 1 .. 2^40");
}

void DemoWindows::append(int64_t w, int64_t first_token_index, Batch& batch) const {
  MOE_CHECK(w >= 0 && w < n_windows_, "[demo] window ", w, " is not one of 0 .. ", n_windows_ - 1);
  constexpr int64_t kWholeOneIn = 8;
  // A sample takes at least one token, so no window needs more than seq_len of them: windows share
  // none.
  int64_t index = w * seq_len_;
  for (int64_t filled = 0; filled < seq_len_; ++index) {
    const DemoSample sample = corpus_.sample(split_, index);
    std::vector<TokenId> ids = tokenizer_->encode(sample.text());
    if (tokenizer_->eos_id()) ids.push_back(*tokenizer_->eos_id());
    const auto fits = static_cast<size_t>(seq_len_ - filled + 1);
    const bool is_cut = ids.size() > fits;
    if (is_cut) ids.resize(fits);
    // A cut sample is trained on whole, so that every window has a target however short it is.
    const bool whole = is_cut || index % kWholeOneIn == 0;
    const auto n_prompt = static_cast<int64_t>(tokenizer_->encode(sample.prompt).size());
    append_sequence(batch, ids, first_token_index + filled, sample.subject,
                    whole ? 0 : n_prompt - 1);
    filled += static_cast<int64_t>(ids.size()) - 1;
  }
}

}  // namespace moe
