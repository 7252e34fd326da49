// SPDX-License-Identifier: MIT
#include "moe/eval/demo_exam.h"

#include <algorithm>

#include "moe/data/demo_corpus.h"
#include "moe/infer/generate.h"

namespace moe {
namespace {

constexpr int64_t kBatch = 50;          // prompts that run together
constexpr int64_t kLongestAnswer = 64;  // tokens

// Distinct unseen samples of one subject.
std::vector<DemoSample> unseen(const DemoCorpus& corpus, int subject, int64_t n) {
  std::vector<DemoSample> samples;
  std::vector<std::string> prompts;
  for (int64_t i = 0; int64_t(samples.size()) < n && i < 100 * n; ++i) {
    DemoSample s = corpus.sample(Split::validation, subject, i);
    if (std::find(prompts.begin(), prompts.end(), s.prompt) != prompts.end()) continue;
    prompts.push_back(s.prompt);
    samples.push_back(std::move(s));
  }
  return samples;
}

}  // namespace

std::vector<SubjectScore> demo_exam(const TransformerLM& model, const Tokenizer& tokenizer,
                                    int64_t n, uint64_t seed,
                                    const std::function<void(double)>& progress) {
  const DemoCorpus corpus(seed);
  const std::vector<int32_t> newline = tokenizer.encode("\n");
  std::vector<int32_t> stop = {newline.front()};
  if (tokenizer.eos_id()) stop.push_back(*tokenizer.eos_id());
  std::vector<SubjectScore> scores;
  const std::vector<std::string>& names = demo_subject_names();
  for (size_t subject = 0; subject < names.size(); ++subject) {
    SubjectScore score{.subject = names[subject], .examples = {}};
    const std::vector<DemoSample> samples = unseen(corpus, int(subject), n);
    for (size_t begin = 0; begin < samples.size(); begin += kBatch) {
      const size_t end = std::min(samples.size(), begin + kBatch);
      std::vector<GenerateRequest> requests;
      for (size_t i = begin; i < end; ++i)
        requests.push_back({.prompt_ids = tokenizer.encode(samples[i].prompt),
                            .max_new_tokens = kLongestAnswer,
                            .sampler = {.temperature = 0},
                            .stop_ids = stop,
                            .key = int64_t(i)});
      const std::vector<GenerateResult> results = generate(model, requests);
      for (size_t i = begin; i < end; ++i) {
        const std::string text = tokenizer.decode(results[i - begin].ids);
        score.asked += 1;
        score.correct += demo_correct(samples[i], text);
        if (score.examples.size() < 2) score.examples.push_back(samples[i].prompt + text);
      }
      if (progress)
        progress((double(subject) + double(end) / double(samples.size())) / double(names.size()));
    }
    scores.push_back(std::move(score));
  }
  return scores;
}

DemoRoutes demo_routes(const TransformerLM& model, const Tokenizer& tokenizer, int64_t n,
                       int64_t n_shuffles, uint64_t seed) {
  const DemoCorpus corpus(seed);
  const size_t n_subjects = demo_subject_names().size();
  DemoRoutes out;
  std::vector<std::vector<SequencePicks>> layers;
  for (size_t subject = 0; subject < n_subjects; ++subject) {
    std::vector<std::vector<int32_t>> sequences;
    for (const DemoSample& sample : unseen(corpus, int(subject), n))
      sequences.push_back(tokenizer.encode(sample.text()));
    const LmOutput output = model(pack_sequences(sequences));
    MOE_CHECK(!output.moe_layers.empty(), "[demo] the model has no experts");
    layers.resize(output.moe_layers.size());
    out.picks.resize(output.moe_layers.size());
    std::vector<size_t> sequence_of_token;
    for (size_t i = 0; i < sequences.size(); ++i)
      sequence_of_token.insert(sequence_of_token.end(), sequences[i].size(), i);
    for (size_t l = 0; l < output.moe_layers.size(); ++l) {
      const LayerReport& report = output.moe_layers[l];
      const size_t n_experts = report.stats.counts_E.size(), first = layers[l].size();
      if (subject == 0) out.layers.push_back(report.layer);
      out.picks[l].resize(n_experts, std::vector<int64_t>(n_subjects));
      layers[l].resize(first + sequences.size(),
                       {int32_t(subject), std::vector<int64_t>(n_experts)});
      for (const Pick& pick : report.picks) {
        layers[l][first + sequence_of_token[size_t(pick.token)]].counts_E[size_t(pick.expert)] += 1;
        out.picks[l][size_t(pick.expert)][subject] += 1;
      }
    }
  }
  out.specialization = measure_specialization(layers, int32_t(n_subjects), n_shuffles, seed);
  return out;
}

}  // namespace moe
