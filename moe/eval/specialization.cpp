// SPDX-License-Identifier: MIT
#include "moe/eval/specialization.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "moe/base/error.h"
#include "moe/base/rng.h"

namespace moe {
namespace {

double entropy(const std::vector<double>& counts, double total) {
  double h = 0;
  for (const double n : counts) h -= n > 0 ? n / total * std::log(n / total) : 0;
  return h;
}

// Mean over layers with sequence i counted under subjects[i].
std::vector<double> nmi_of_layers(const std::vector<std::vector<SequencePicks>>& layers,
                                  const std::vector<int32_t>& subjects, int32_t n_subjects) {
  std::vector<double> out;
  for (const std::vector<SequencePicks>& sequences : layers) {
    std::vector<std::vector<double>> counts(sequences.front().counts_E.size(),
                                            std::vector<double>(size_t(n_subjects)));
    for (size_t i = 0; i < sequences.size(); ++i)
      for (size_t e = 0; e < counts.size(); ++e)
        counts[e][size_t(subjects[i])] += double(sequences[i].counts_E[e]);
    out.push_back(normalized_mutual_information(counts));
  }
  return out;
}

double mean(const std::vector<double>& x) {
  return x.empty() ? 0 : std::accumulate(x.begin(), x.end(), 0.0) / double(x.size());
}

}  // namespace

double normalized_mutual_information(const std::vector<std::vector<double>>& counts) {
  std::vector<double> experts, subjects(counts.empty() ? 0 : counts.front().size()), joint;
  for (const std::vector<double>& row : counts) {
    experts.push_back(std::accumulate(row.begin(), row.end(), 0.0));
    for (size_t s = 0; s < row.size(); ++s) subjects[s] += row[s];
    joint.insert(joint.end(), row.begin(), row.end());
  }
  const double total = std::accumulate(experts.begin(), experts.end(), 0.0);
  if (total <= 0) return 0;
  const double he = entropy(experts, total), hs = entropy(subjects, total);
  if (he <= 0 || hs <= 0) return 0;
  return std::max(0.0, he + hs - entropy(joint, total)) / std::sqrt(he * hs);
}

Specialization measure_specialization(const std::vector<std::vector<SequencePicks>>& layers,
                                      int32_t n_subjects, int64_t n_shuffles, uint64_t seed) {
  MOE_CHECK(!layers.empty() && !layers.front().empty() && n_subjects >= 1,
            "[specialization] no routed sequences were given");
  for (const auto& sequences : layers)
    MOE_CHECK(sequences.size() == layers.front().size(),
              "[specialization] layers with different numbers of sequences");
  std::vector<int32_t> subjects;
  for (const SequencePicks& sequence : layers.front()) {
    MOE_CHECK(sequence.subject >= 0 && sequence.subject < n_subjects, "[specialization] subject ",
              sequence.subject, " of ", n_subjects);
    subjects.push_back(sequence.subject);
  }
  Specialization out;
  out.nmi_of_layer = nmi_of_layers(layers, subjects, n_subjects);
  out.nmi = mean(out.nmi_of_layer);
  out.n_shuffles = n_shuffles;
  const RngStream rng = Rng{seed, 0}.stream("specialization.shuffle");
  std::vector<double> shuffled;
  for (int64_t k = 0; k < n_shuffles; ++k) {
    for (size_t i = subjects.size() - 1; i > 0; --i)
      std::swap(subjects[i], subjects[size_t(rng.below(i + 1, k, int64_t(i)))]);
    shuffled.push_back(mean(nmi_of_layers(layers, subjects, n_subjects)));
  }
  if (shuffled.empty()) return out;
  out.shuffled_mean = mean(shuffled);
  std::sort(shuffled.begin(), shuffled.end());
  // The value that a labelling without meaning exceeds with probability 1 %, itself counted among
  // the shuffles.
  const size_t place = size_t(std::ceil(0.99 * double(shuffled.size() + 1)));
  out.shuffled_p99 = shuffled[std::min(place, shuffled.size()) - 1];
  return out;
}

}  // namespace moe
