// SPDX-License-Identifier: MIT
#include "moe/study/bench.h"

#include <algorithm>
#include <chrono>

#include "moe/base/parallel.h"
#include "moe/base/progress.h"
#include "moe/base/rng.h"
#include "moe/infer/sampler.h"
#include "moe/infer/session.h"
#include "moe/kernels/cpu/ceilings.h"
#include "moe/nn/accounting.h"
#include "moe/nn/init.h"
#include "moe/optim/optimizer.h"
#include "moe/study/kernel_timer.h"
#include "moe/study/shapes.h"
#include "moe/tensor/allocator.h"
#include "moe/train/trainer.h"

namespace moe {
namespace {

// Endless random tokens: what they are has no influence on the time but through the router, which
// random weights make nearly even.
class RandomWindows final : public Windows {
 public:
  RandomWindows(int64_t seq_len, int64_t vocab) : seq_len_(seq_len), vocab_(vocab) {}
  int64_t count() const override { return int64_t{1} << 20; }
  void append(int64_t w, int64_t first_token_index, Batch& batch) const override {
    const RngStream draws(1, uint64_t(w), "bench.tokens");
    std::vector<int32_t> ids(size_t(seq_len_) + 1);
    for (size_t i = 0; i < ids.size(); ++i)
      ids[i] = int32_t(draws.below(uint64_t(vocab_), int64_t(i), 0));
    append_sequence(batch, ids, first_token_index, Batch::kNoSubject);
  }

 private:
  int64_t seq_len_, vocab_;
};

std::vector<BenchPhase> phases_of(const KernelTimer& timer, double steps, double total_seconds) {
  std::vector<BenchPhase> out;
  double known = 0;
  for (const KernelTimer::Phase& p : timer.phases()) {
    out.push_back({p.name, p.seconds / steps, p.seconds / total_seconds});
    known += p.seconds;
  }
  out.push_back({"other", (total_seconds - known) / steps, 1 - known / total_seconds});
  return out;
}

std::vector<int32_t> random_ids(int64_t n, int64_t vocab, uint64_t key) {
  const RngStream draws(2, key, "bench.prompt");
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < n; ++i) ids.push_back(int32_t(draws.below(uint64_t(vocab), i, 0)));
  return ids;
}

BenchResult start(const char* what, const BenchOptions& o, const RunConfig& config) {
  BenchResult r;
  r.what = what;
  r.shape = o.shape;
  r.kernels = kernels(DType::f32).name;
  r.threads = n_threads();
  r.parameters = int64_t(count_parameters(config.model).total);
  return r;
}

// Samples of the multiply-add peak around each timed step; the best counts, because a sample that
// the neighbours disturbed says nothing about the machine.
void sample_peak(const Ceilings& ceilings, std::vector<double>& samples) {
  for (int i = 0; i < 40; ++i) samples.push_back(ceilings.multiply_add_sample());
}

}  // namespace

BenchResult bench_train(const BenchOptions& o) {
  RunConfig config = shape_config(o.shape, o.overrides);
  if (o.batch > 0) config.train.batch_size = o.batch;
  config.train.grad_accum = 1;
  BenchResult r = start("train", o, config);
  r.batch = config.train.batch_size;
  Dataset data;
  data.vocab_size = config.model.vocab_size;
  data.train = std::make_shared<RandomWindows>(config.data.seq_len, config.model.vocab_size);
  TransformerLM model(config.model);
  initialize(model, 1);
  Trainer trainer(config, data, model);

  const Ceilings ceilings(r.kernels);
  for (int i = 0; i < 2; ++i) trainer.step();
  const double once = seconds_of([&] { trainer.step(); });
  const int64_t steps = o.steps > 0 ? o.steps : std::clamp<int64_t>(int64_t(8 / once), 4, 200);
  reset_tensor_bytes_peak();
  KernelTimer timer;
  std::vector<double> seconds, optimizer, peak;
  sample_peak(ceilings, peak);
  double total = 0;
  for (int64_t i = 0; i < steps; ++i) {
    StepResult step;
    seconds.push_back(seconds_of([&] { step = trainer.step(); }));
    optimizer.push_back(step.optimizer_seconds);
    total += seconds.back();
    sample_peak(ceilings, peak);
  }
  r.steps = steps;
  r.seconds = median(seconds);
  const double tokens = double(r.batch * config.data.seq_len);
  r.tokens_per_second = tokens / r.seconds;
  r.gflop_per_second =
      train_flop_per_token(config.model, config.data.seq_len) * r.tokens_per_second * 1e-9;
  r.peak_gflop_per_second = *std::max_element(peak.begin(), peak.end()) * 1e-9;
  r.share_of_peak = r.gflop_per_second / r.peak_gflop_per_second;
  r.phases = phases_of(timer, double(steps), total);
  r.optimizer_seconds = median(optimizer);
  r.peak_bytes = tensor_bytes_peak();
  r.predicted_bytes =
      int64_t(total_bytes(training_memory(config.model, r.batch, config.data.seq_len,
                                          optimizer_slots(config.optim), config.train.mode())));
  return r;
}

BenchResult bench_prefill(const BenchOptions& o) {
  const RunConfig config = shape_config(o.shape, o.overrides);
  BenchResult r = start("prefill", o, config);
  r.batch = std::max<int64_t>(1, o.batch);
  TransformerLM model(config.model);
  initialize(model, 1);
  const Ceilings ceilings(r.kernels);
  std::vector<std::vector<int32_t>> prompts;
  for (int64_t b = 0; b < r.batch; ++b)
    prompts.push_back(random_ids(config.data.seq_len, config.model.vocab_size, uint64_t(b)));
  const auto run = [&] {
    DecodeSession session(model);
    std::vector<DecodeSession::Input> inputs;
    for (const std::vector<int32_t>& prompt : prompts)
      inputs.push_back({session.add_sequence(), prompt});
    session.feed(inputs);
  };
  run();
  const double once = seconds_of(run);
  r.steps = o.steps > 0 ? o.steps : std::clamp<int64_t>(int64_t(4 / once), 4, 400);
  reset_tensor_bytes_peak();
  KernelTimer timer;
  std::vector<double> seconds, peak;
  double total = 0;
  for (int64_t i = 0; i < r.steps; ++i) {
    sample_peak(ceilings, peak);
    seconds.push_back(seconds_of(run));
    total += seconds.back();
  }
  r.seconds = median(seconds);
  r.tokens_per_second = double(r.batch * config.data.seq_len) / r.seconds;
  // Forward is a third of a training step; only the last token of each prompt meets the head.
  const double head = 2 * double(config.model.d_model * config.model.vocab_size);
  r.gflop_per_second = (train_flop_per_token(config.model, config.data.seq_len) / 3 - head) *
                       r.tokens_per_second * 1e-9;
  r.peak_gflop_per_second = *std::max_element(peak.begin(), peak.end()) * 1e-9;
  r.share_of_peak = r.gflop_per_second / r.peak_gflop_per_second;
  r.phases = phases_of(timer, double(r.steps), total);
  r.peak_bytes = tensor_bytes_peak();
  return r;
}

BenchResult bench_decode(const BenchOptions& o) {
  RunConfig config = shape_config(o.shape, o.overrides);
  BenchResult r = start("decode", o, config);
  r.batch = std::max<int64_t>(1, o.batch);
  MOE_CHECK(o.prompt + o.tokens <= config.model.max_seq_len, "[bench] ", o.prompt,
            " prompt tokens and ", o.tokens, " new ones exceed model.max_seq_len ",
            config.model.max_seq_len);
  TransformerLM model(config.model);
  initialize(model, 1);
  const Ceilings ceilings(r.kernels);
  DecodeSession session(model);
  std::vector<int> sequences;
  std::vector<std::vector<int32_t>> pending;
  for (int64_t b = 0; b < r.batch; ++b) {
    sequences.push_back(session.add_sequence());
    pending.push_back(random_ids(o.prompt, config.model.vocab_size, uint64_t(b)));
  }
  const auto one_token = [&] {
    std::vector<DecodeSession::Input> inputs;
    for (size_t b = 0; b < sequences.size(); ++b) inputs.push_back({sequences[b], pending[b]});
    const Tensor logits_BV = session.feed(inputs);
    for (size_t b = 0; b < sequences.size(); ++b)
      pending[b] = {sample_token(logits_BV.rows(int64_t(b), int64_t(b) + 1).data<float>(),
                                 {.temperature = 0}, 0, 0)};
  };
  for (int i = 0; i < 20; ++i) one_token();

  // The weights that these tokens meet: with several rows the experts of all of them, at most E.
  const double matrix_bytes = active_matrix_parameters(config.model) * 4;
  // A buffer of the same bytes as the active weights, read beside the timed tokens.
  const Tensor buffer = Tensor::zeros({int64_t(matrix_bytes / 4) / 64 * 64}, DType::f32);
  std::vector<double> seconds, share, bandwidth;
  KernelTimer timer;
  double total = 0;
  r.steps = o.steps > 0 ? o.steps : o.tokens - 20;
  for (int64_t i = 0; i < r.steps; ++i) {
    if (i % 10 == 0)
      bandwidth.push_back(ceilings.read_sample(buffer.data<float>().data(), buffer.numel()));
    seconds.push_back(seconds_of(one_token));
    total += seconds.back();
  }
  r.seconds = median(seconds);
  r.tokens_per_second = double(r.batch) / r.seconds;
  r.gigabytes_per_second = matrix_bytes / r.seconds * 1e-9;
  r.bandwidth_gigabytes_per_second = median(bandwidth) * 1e-9;
  r.share_of_bandwidth =
      r.batch == 1 ? r.gigabytes_per_second / r.bandwidth_gigabytes_per_second : 0;
  r.phases = phases_of(timer, double(r.steps), total);
  r.peak_bytes = tensor_bytes_peak();
  return r;
}

JsonObject to_json(const BenchResult& r) {
  JsonObject phases;
  for (const BenchPhase& p : r.phases)
    phases[p.name] = JsonObject{{"seconds", p.seconds}, {"share", p.share}};
  JsonObject o = {{"what", r.what},
                  {"shape", r.shape},
                  {"kernels", r.kernels},
                  {"threads", r.threads},
                  {"batch", r.batch},
                  {"steps", r.steps},
                  {"parameters", r.parameters},
                  {"tokens_per_second", r.tokens_per_second},
                  {"seconds", r.seconds},
                  {"peak_bytes", r.peak_bytes}};
  if (r.peak_gflop_per_second > 0) {
    o["gflop_per_second"] = r.gflop_per_second;
    o["peak_gflop_per_second"] = r.peak_gflop_per_second;
    o["share_of_peak"] = r.share_of_peak;
  }
  if (r.bandwidth_gigabytes_per_second > 0) {
    o["gigabytes_per_second"] = r.gigabytes_per_second;
    o["bandwidth_gigabytes_per_second"] = r.bandwidth_gigabytes_per_second;
    if (r.batch == 1) o["share_of_bandwidth"] = r.share_of_bandwidth;
  }
  if (r.predicted_bytes > 0) {
    o["predicted_bytes"] = r.predicted_bytes;
    o["resident_bytes"] = int64_t(peak_resident_bytes());
  }
  if (r.optimizer_seconds > 0) o["optimizer_seconds"] = r.optimizer_seconds;
  o["phases"] = phases;
  return o;
}

}  // namespace moe
