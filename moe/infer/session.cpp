// SPDX-License-Identifier: MIT
#include "moe/infer/session.h"

#include <algorithm>
#include <cstring>

namespace moe {

DecodeSession::DecodeSession(const TransformerLM& model, int64_t chunk_tokens)
    : model_(model), chunk_tokens_(chunk_tokens), cache_(model.config(), model.dtype()) {}

int DecodeSession::add_sequence() {
  const int sequence = cache_.add_sequence();
  history_.resize(std::max(history_.size(), size_t(sequence) + 1));
  taken_.resize(history_.size());
  taken_[size_t(sequence)] = std::make_unique<ExpertsTaken>();
  history_[size_t(sequence)].assign(size_t(std::max<int64_t>(0, model_.config().ngram_order - 1)),
                                    -1);
  return sequence;
}

Tensor DecodeSession::feed(const std::vector<Input>& inputs) { return run(inputs, false); }
Tensor DecodeSession::feed_all(const std::vector<Input>& inputs) { return run(inputs, true); }

Tensor DecodeSession::run(const std::vector<Input>& inputs, bool every_row) {
  NoTape inference;
  const int64_t vocab = model_.config().vocab_size, element = dtype_bytes(model_.dtype());
  int64_t total = 0;
  std::vector<int64_t> first_row;  // of each input in the result
  for (const Input& in : inputs) {
    MOE_CHECK(!in.ids.empty(), "[decode] no tokens for sequence ", in.sequence);
    first_row.push_back(total);
    total += every_row ? int64_t(in.ids.size()) : 1;
  }
  Tensor out = Tensor::empty({total, vocab}, model_.dtype());
  std::vector<int64_t> done(inputs.size(), 0);
  for (;;) {
    // As many whole inputs as fit; a longer one is cut.
    std::vector<size_t> part;
    std::vector<int64_t> count;
    int64_t budget = chunk_tokens_;
    for (size_t i = 0; i < inputs.size() && budget > 0; ++i) {
      const int64_t left = int64_t(inputs[i].ids.size()) - done[i];
      if (left == 0) continue;
      part.push_back(i);
      count.push_back(std::min(left, budget));
      budget -= count.back();
    }
    if (part.empty()) return out;
    std::vector<int32_t> ids, positions, starts = {0}, history;
    std::vector<int64_t> index;
    std::vector<int> sequences;
    std::vector<int32_t> wanted_rows;
    std::vector<int64_t> to_rows;
    for (size_t p = 0; p < part.size(); ++p) {
      const size_t i = part[p];
      const Input& in = inputs[i];
      const int64_t position = cache_.length(in.sequence);
      for (int64_t j = 0; j < count[p]; ++j) {
        const bool last = done[i] + j + 1 == int64_t(in.ids.size());
        if (every_row || last) {
          wanted_rows.push_back(int32_t(ids.size()));
          to_rows.push_back(first_row[i] + (every_row ? done[i] + j : 0));
        }
        index.push_back(int64_t(ids.size()));
        ids.push_back(in.ids[size_t(done[i] + j)]);
        positions.push_back(int32_t(position + j));
      }
      std::vector<int32_t>& last = history_[size_t(in.sequence)];
      history.insert(history.end(), last.begin(), last.end());
      const size_t n_last = last.size();
      last.insert(last.end(), in.ids.begin() + done[i], in.ids.begin() + done[i] + count[p]);
      last.erase(last.begin(), last.end() - int64_t(n_last));
      starts.push_back(int32_t(ids.size()));
      sequences.push_back(in.sequence);
      cache_.extend(in.sequence, count[p]);
      done[i] += count[p];
    }
    const KvView view = cache_.view(sequences);
    const int64_t T = int64_t(ids.size());
    ForwardContext ctx;
    ctx.token_ids_T = Tensor::from<int32_t>({T}, ids);
    ctx.positions_T = Tensor::from<int32_t>({T}, positions);
    ctx.sequence_starts_B1 = Tensor::from<int32_t>({int64_t(starts.size())}, starts);
    ctx.token_index_T = Tensor::from<int64_t>({T}, index);
    if (!history.empty()) {
      const int64_t B = int64_t(part.size());
      ctx.history_BH = Tensor::from<int32_t>({B, int64_t(history.size()) / B}, history);
    }
    for (const int sequence : sequences) ctx.taken_B.push_back(taken_[size_t(sequence)].get());
    ctx.kv = &view;
    const LmOutput hidden = model_(ctx);
    if (wanted_rows.empty()) continue;
    Tensor rows_RD =
        Tensor::empty({int64_t(wanted_rows.size()), model_.config().d_model}, model_.dtype());
    kernels(model_.dtype()).gather_rows(rows_RD.view(), hidden.hidden_TD.view(), wanted_rows);
    const Tensor logits_RV = model_.logits(Var(rows_RD)).value();
    for (size_t r = 0; r < to_rows.size(); ++r)
      std::memcpy(out.raw() + to_rows[r] * vocab * element,
                  logits_RV.raw() + int64_t(r) * vocab * element, size_t(vocab * element));
  }
}

}  // namespace moe
