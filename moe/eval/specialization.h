// SPDX-License-Identifier: MIT
// Do experts take up subjects? Normalised mutual information between a pick's expert and its
// sequence's subject, against shuffles of the subjects.
#pragma once

#include <cstdint>
#include <vector>

namespace moe {

/// One sequence of one layer: its subject, and how many of its picks each expert took.
struct SequencePicks {
  int32_t subject = 0;
  std::vector<int64_t> counts_E;
};

/// I(expert; subject) / sqrt(H(expert) H(subject)), in [0, 1]; 0 when one of them is constant.
/// counts: [expert][subject].
double normalized_mutual_information(const std::vector<std::vector<double>>& counts);

struct Specialization {
  double nmi = 0;  // mean over layers
  std::vector<double> nmi_of_layer;
  double shuffled_mean = 0, shuffled_p99 = 0;
  int64_t n_shuffles = 0;
};

/// layers[l]: the sequences of layer l, the same sequences in the same order in each. A shuffle
/// gives whole sequences other subjects, so that tokens of one sequence, which route alike, stay
/// together: a token-wise shuffle would call anything significant.
Specialization measure_specialization(const std::vector<std::vector<SequencePicks>>& layers,
                                      int32_t n_subjects, int64_t n_shuffles, uint64_t seed);

}  // namespace moe
