// SPDX-License-Identifier: MIT
#include "moe/eval/expert_report.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "moe/base/utf8.h"
#include "moe/nn/moe/assignment_router.h"

namespace moe {
namespace {

constexpr int64_t kTokensPerPass = 4096;

// Calls f(output, first sequence, tokens' sequence numbers) pass by pass; sequences are cut at the
// model's context.
void for_each_pass(const TransformerLM& model, const std::vector<std::vector<int32_t>>& sequences,
                   const std::function<void(const LmOutput&, const std::vector<int32_t>& ids,
                                            const std::vector<int32_t>& sequence_T)>& f) {
  const size_t context = size_t(model.config().max_seq_len);
  std::vector<std::vector<int32_t>> batch;
  std::vector<int32_t> ids, sequence_T;
  const auto flush = [&] {
    if (batch.empty()) return;
    f(model(pack_sequences(batch)), ids, sequence_T);
    batch.clear(), ids.clear(), sequence_T.clear();
  };
  for (size_t s = 0; s < sequences.size(); ++s)
    for (size_t begin = 0; begin < sequences[s].size(); begin += context) {
      const size_t end = std::min(sequences[s].size(), begin + context);
      batch.emplace_back(sequences[s].begin() + int64_t(begin),
                         sequences[s].begin() + int64_t(end));
      ids.insert(ids.end(), batch.back().begin(), batch.back().end());
      sequence_T.insert(sequence_T.end(), end - begin, int32_t(s));
      if (int64_t(ids.size()) >= kTokensPerPass) flush();
    }
  flush();
}

// Softmax of the router's logits of one token, falling.
std::vector<double> sorted_probabilities(const Tensor& logits_TE, int64_t t) {
  std::vector<double> p;
  for (int64_t e = 0; e < logits_TE.size(1); ++e) p.push_back(score_at(logits_TE, t, e));
  const double top = *std::max_element(p.begin(), p.end());
  double sum = 0;
  for (double& v : p) sum += v = std::exp(v - top);
  for (double& v : p) v /= sum;
  std::sort(p.begin(), p.end(), std::greater<>());
  return p;
}

struct LayerSums {
  RouterStats stats;
  double entropy = 0, top1 = 0, margin = 0;
  std::vector<std::vector<double>> together_EE, counts_EC;
  std::vector<SequencePicks> routed;  // for the measure of specialisation
};

ExpertLayerReport finish(int layer, LayerSums& sums, int64_t tokens) {
  ExpertLayerReport r;
  r.layer = layer;
  const double E = double(sums.stats.counts_E.size()),
               total = double(std::accumulate(sums.stats.counts_E.begin(),
                                              sums.stats.counts_E.end(), int64_t{0}));
  double squares = 0;
  for (size_t e = 0; e < sums.stats.counts_E.size(); ++e) {
    const double share = total > 0 ? double(sums.stats.counts_E[e]) / total : 0;
    r.load_E.push_back(share);
    r.max_violation = std::max(r.max_violation, share * E - 1);
    r.entropy -= share > 0 ? share * std::log(share) : 0;
    squares += (share - 1 / E) * (share - 1 / E) / E;
    if (share < 0.01 / E) r.dead.push_back(int32_t(e));
    for (double& n : sums.together_EE[e])
      n = sums.stats.counts_E[e] > 0 ? n / double(sums.stats.counts_E[e]) : 0;
  }
  r.entropy = E > 1 ? r.entropy / std::log(E) : 1;
  r.cv = std::sqrt(squares) * E;
  r.router_entropy = sums.entropy / double(tokens);
  r.top1_mass = sums.top1 / double(tokens);
  r.margin = sums.margin / double(tokens);
  for (const int64_t n : sums.stats.dropped_E) r.dropped += n;
  r.together_EE = std::move(sums.together_EE);
  r.counts_EC = std::move(sums.counts_EC);
  return r;
}

}  // namespace

ExpertReport report_experts(const TransformerLM& model,
                            const std::vector<LabelledSequence>& labelled,
                            const Tokenizer* tokenizer, const ExpertReportOptions& o) {
  MOE_CHECK(model.config().has_moe, "[experts] the model is dense; it has no experts");
  std::vector<std::vector<int32_t>> sequences;
  int64_t total = 0;
  for (const LabelledSequence& s : labelled) {
    sequences.push_back(s.ids);
    total += int64_t(s.ids.size());
  }
  MOE_CHECK(total > 0, "[experts] there are no tokens to read");
  const size_t n_categories = std::max<size_t>(1, o.categories.size());
  const int64_t k = experts_per_token(model.config().moe);
  ExpertReport report;
  report.categories = o.categories;
  std::vector<LayerSums> sums;
  std::vector<int> layers;
  for_each_pass(model, sequences,
                [&](const LmOutput& out, const std::vector<int32_t>& ids,
                    const std::vector<int32_t>& sequence_T) {
                  sums.resize(out.moe_layers.size());
                  layers.resize(out.moe_layers.size());
                  const size_t T = ids.size();
                  std::vector<int32_t> category_T(T);
                  for (size_t t = 0; t < T; ++t)
                    category_T[t] = o.category_of ? o.category_of(ids[t])
                                                  : labelled[size_t(sequence_T[t])].category;
                  const size_t mask_before = report.mask_tokens.size(),
                               masked = std::min(T, size_t(o.mask_tokens) - mask_before);
                  for (size_t t = 0; t < masked; ++t)
                    report.mask_tokens.push_back(tokenizer
                                                     ? std::string(tokenizer->token_bytes(ids[t]))
                                                     : std::to_string(ids[t]));
                  report.mask_LTE.resize(out.moe_layers.size());
                  for (size_t l = 0; l < out.moe_layers.size(); ++l) {
                    const LayerReport& layer = out.moe_layers[l];
                    LayerSums& s = sums[l];
                    layers[l] = layer.layer;
                    const size_t E = layer.stats.counts_E.size();
                    s.stats += layer.stats;
                    s.together_EE.resize(E, std::vector<double>(E, 0));
                    s.counts_EC.resize(E, std::vector<double>(n_categories, 0));
                    report.mask_LTE[l].resize(report.mask_tokens.size(), std::vector<double>(E, 0));
                    const Tensor& logits_TE = layer.router_logits_TE.value();
                    for (size_t t = 0; logits_TE.size(1) > 0 && t < T; ++t) {
                      const std::vector<double> p = sorted_probabilities(logits_TE, int64_t(t));
                      for (const double v : p) s.entropy -= v > 0 ? v * std::log(v) : 0;
                      s.top1 += p[0];
                      if (size_t(k) < p.size()) s.margin += p[size_t(k) - 1] - p[size_t(k)];
                    }
                    // A token's picks, and the unit of shuffles: its sequence, or the token where
                    // categories are its own.
                    std::vector<std::vector<int32_t>> experts_T(T);
                    for (const Pick& p : layer.picks)
                      experts_T[size_t(p.token)].push_back(p.expert);
                    int32_t unit = -1;
                    for (size_t t = 0; t < T; ++t) {
                      if (o.category_of || sequence_T[t] != unit) {
                        s.routed.push_back({category_T[t], std::vector<int64_t>(E, 0)});
                        unit = sequence_T[t];
                      }
                      for (const int32_t e : experts_T[t]) {
                        s.counts_EC[size_t(e)][size_t(category_T[t])] += 1;
                        s.routed.back().counts_E[size_t(e)] += 1;
                        if (t < masked) report.mask_LTE[l][mask_before + t][size_t(e)] = 1;
                        for (const int32_t other : experts_T[t])
                          s.together_EE[size_t(e)][size_t(other)] += 1;
                      }
                    }
                  }
                  report.tokens += int64_t(T);
                  if (o.progress) o.progress(double(report.tokens) / double(total));
                });
  std::vector<std::vector<SequencePicks>> routed;
  for (size_t l = 0; l < sums.size(); ++l) {
    routed.push_back(std::move(sums[l].routed));
    report.layers.push_back(finish(layers[l], sums[l], report.tokens));
  }
  if (o.categories.size() > 1) {
    report.specialization =
        measure_specialization(routed, int32_t(o.categories.size()), o.n_shuffles, o.seed);
    report.is_significant = report.specialization.nmi > report.specialization.shuffled_p99;
  }
  return report;
}

Tensor router_logits(const TransformerLM& model,
                     const std::vector<std::vector<int32_t>>& sequences) {
  MOE_CHECK(model.config().has_moe, "[eval] the model is dense; it has no router");
  std::vector<std::vector<float>> layers;
  int64_t E = -1, T = 0;
  for_each_pass(
      model, sequences,
      [&](const LmOutput& out, const std::vector<int32_t>& ids, const std::vector<int32_t>&) {
        layers.resize(out.moe_layers.size());
        T += int64_t(ids.size());
        for (size_t l = 0; l < out.moe_layers.size(); ++l) {
          const Tensor logits = out.moe_layers[l].router_logits_TE.value().to(DType::f32);
          MOE_CHECK(logits.size(1) > 0, "[eval] router '", model.config().moe.router,
                    "' has no logits to dump");
          MOE_CHECK(E < 0 || E == logits.size(1),
                    "[eval] layers with different numbers of experts");
          E = logits.size(1);
          const std::span<float> values = logits.data<float>();
          layers[l].insert(layers[l].end(), values.begin(), values.end());
        }
      });
  MOE_CHECK(T > 0, "[eval] there are no tokens to read");
  std::vector<float> all;
  for (const std::vector<float>& layer : layers) all.insert(all.end(), layer.begin(), layer.end());
  return Tensor::from<float>({int64_t(layers.size()), T, E}, all);
}

const std::vector<std::string>& script_names() {
  static const std::vector<std::string> names = {
      "whitespace", "digits",     "punctuation", "Latin", "Greek",  "Cyrillic", "Hebrew",
      "Arabic",     "Devanagari", "Thai",        "Kana",  "Hangul", "Han",      "other"};
  return names;
}

int32_t script_of(std::string_view text) {
  struct Range {
    char32_t first, last;
    int32_t script;
  };
  constexpr Range kRanges[] = {{'0', '9', 1},          {'A', 'Z', 3},        {'a', 'z', 3},
                               {0xC0, 0x24F, 3},       {0x370, 0x3FF, 4},    {0x400, 0x52F, 5},
                               {0x590, 0x5FF, 6},      {0x600, 0x6FF, 7},    {0x900, 0x97F, 8},
                               {0xE00, 0xE7F, 9},      {0x3040, 0x30FF, 10}, {0x1100, 0x11FF, 11},
                               {0xAC00, 0xD7AF, 11},   {0x3400, 0x9FFF, 12}, {0xF900, 0xFAFF, 12},
                               {0x20000, 0x3FFFF, 12}, {0x2000, 0x206F, 2},  {0x3000, 0x303F, 2}};
  // The first character that is more than a blank tells; a token of blanks alone is whitespace.
  int32_t script = 0;
  while (!text.empty()) {
    const Utf8Unit unit = next_utf8(text);
    text.remove_prefix(unit.size);
    if (unit.state != Utf8State::complete) return int32_t(script_names().size()) - 1;
    const char32_t c = unit.code_point;
    if (c == ' ' || c == '\n' || c == '\t' || c == '\r') continue;
    for (const Range& r : kRanges)
      if (c >= r.first && c <= r.last) return r.script;
    return c < 0x80 ? 2 : int32_t(script_names().size()) - 1;
  }
  return script;
}

}  // namespace moe
