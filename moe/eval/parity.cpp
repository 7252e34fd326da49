// SPDX-License-Identifier: MIT
#include "moe/eval/parity.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "moe/base/parallel.h"
#include "moe/base/rng.h"
#include "moe/infer/session.h"

namespace moe {
namespace {

using Sequences = std::vector<std::vector<int32_t>>;

enum class Feed { prefill, token_by_token, chunked };
constexpr const char* kFeedName[3] = {"prefill", "token by token", "chunked"};
constexpr int64_t kChunk = 7;  // odd, and no divisor of a key block

// Logits of every token of the first `batch` sequences, run together.
std::vector<Tensor> run_cached(const TransformerLM& model, const Sequences& all, size_t batch,
                               Feed feed) {
  DecodeSession session(model, 64);  // a small budget, so that packed prefills are cut as well
  std::vector<int> numbers;
  std::vector<std::vector<Tensor>> parts(batch);
  std::vector<size_t> done(batch, 0);
  for (size_t b = 0; b < batch; ++b) numbers.push_back(session.add_sequence());
  for (;;) {
    std::vector<DecodeSession::Input> inputs;
    std::vector<size_t> who;
    for (size_t b = 0; b < batch; ++b) {
      const size_t left = all[b].size() - done[b];
      const size_t n = std::min(left, feed == Feed::prefill   ? left
                                      : feed == Feed::chunked ? size_t(kChunk)
                                                              : size_t{1});
      if (n == 0) continue;
      inputs.push_back(
          {numbers[b], {all[b].begin() + int64_t(done[b]), all[b].begin() + int64_t(done[b] + n)}});
      done[b] += n;
      who.push_back(b);
    }
    if (inputs.empty()) break;
    const Tensor logits = session.feed_all(inputs);
    int64_t row = 0;
    for (size_t i = 0; i < who.size(); ++i) {
      const int64_t n = int64_t(inputs[i].ids.size());
      parts[who[i]].push_back(logits.rows(row, row + n));
      row += n;
    }
  }
  std::vector<Tensor> out;
  for (size_t b = 0; b < batch; ++b) {
    Tensor whole =
        Tensor::empty({int64_t(all[b].size()), model.config().vocab_size}, model.dtype());
    int64_t row = 0;
    for (const Tensor& part : parts[b]) {
      std::copy(part.data<float>().begin(), part.data<float>().end(),
                whole.rows(row, row + part.size(0)).data<float>().begin());
      row += part.size(0);
    }
    out.push_back(whole);
  }
  return out;
}

// Without a cache: one packed forward, as in training and evaluation.
std::vector<Tensor> run_packed(const TransformerLM& model, const Sequences& all, size_t batch) {
  NoTape inference;
  const Tensor logits =
      model
          .logits(
              model(pack_sequences(Sequences(all.begin(), all.begin() + int64_t(batch)))).hidden_TD)
          .value();
  std::vector<Tensor> out;
  int64_t row = 0;
  for (size_t b = 0; b < batch; ++b) {
    out.push_back(logits.rows(row, row + int64_t(all[b].size())));
    row += int64_t(all[b].size());
  }
  return out;
}

struct Restore {
  int threads = n_threads();
  const Kernels& table = kernels(DType::f32);
  ~Restore() {
    set_threads(threads);
    use_kernels(table);
  }
};

}  // namespace

std::vector<const Kernels*> all_f32_tables() {
  std::vector<const Kernels*> tables = {&ref_kernels<float>()};
  for (const Kernels* table : cpu_kernels()) tables.push_back(table);
  return tables;
}

ParityReport check_parity(const TransformerLM& model, const std::vector<const Kernels*>& tables,
                          uint64_t seed, const std::function<void(double)>& progress) {
  MOE_CHECK(model.dtype() == DType::f32, "[parity] needs a float32 model");
  MOE_CHECK(model.causal(false), "[parity] router '", model.config().moe.router,
            "' is not causal: its logits depend on later tokens by construction");
  const Restore restore;
  // Lengths around a key block, unequal, within the model's context.
  const int64_t context = model.config().max_seq_len;
  const RngStream rng = Rng{seed, 0}.stream("parity");
  Sequences all;
  for (const int64_t length : {66, 5, 17, 33, 1, 64, 40, 9}) {
    std::vector<int32_t> ids;
    for (int64_t i = 0; i < std::min(length, context); ++i)
      ids.push_back(
          int32_t(rng.below(uint64_t(model.config().vocab_size), i, int64_t(all.size()))));
    all.push_back(ids);
  }
  set_threads(1);
  use_kernels(ref_kernels<float>());
  std::vector<Tensor> reference;
  for (size_t i = 0; i < all.size(); ++i) reference.push_back(run_packed(model, {all[i]}, 1)[0]);

  ParityReport report;
  // got[i] belongs to sequence first + i.
  auto compare = [&](const std::vector<Tensor>& got, const std::string& setup, size_t first = 0) {
    for (size_t b = 0; b < got.size(); ++b) {
      const std::span<float> x = got[b].data<float>(), want = reference[first + b].data<float>();
      for (size_t i = 0; i < x.size(); ++i) {
        report.comparisons += 1;
        if (std::isnan(x[i]) && std::isnan(want[i])) continue;
        const int bits =
            std::popcount(std::bit_cast<uint32_t>(x[i]) ^ std::bit_cast<uint32_t>(want[i]));
        report.differing_bits += bits;
        if (bits > 0 && report.first_difference.empty())
          report.first_difference = str(
              setup, ": sequence ", first + b, ", token ", i / size_t(model.config().vocab_size),
              ", id ", i % size_t(model.config().vocab_size), ": ", x[i], " instead of ", want[i]);
      }
    }
  };
  int64_t done = 0;
  const double total = double(tables.size()) * 2 * 3;
  for (const Kernels* table : tables)
    for (const int threads : {1, 2})
      for (const size_t batch : {size_t{1}, size_t{3}, size_t{8}}) {
        use_kernels(*table);
        set_threads(threads);
        const std::string setup = str(table->name, ", ", threads, " threads, batch ", batch);
        for (int feed = 0; feed < 3; ++feed) {
          compare(run_cached(model, all, batch, Feed(feed)),
                  str(setup, ", ", kFeedName[feed], ", cached"));
          if (batch > 1) continue;
          for (size_t i = 1; i < all.size(); ++i)
            compare(run_cached(model, {all[i]}, 1, Feed(feed)),
                    str(setup, ", ", kFeedName[feed], ", alone"), i);
        }
        compare(run_packed(model, all, batch), setup + ", packed");
        done += 1;
        if (progress) progress(double(done) / total);
      }
  return report;
}

}  // namespace moe
