// SPDX-License-Identifier: MIT
// Growth and back: a dense model becomes a Mixture-of-Experts, experts are taken away or merged, a
// Mixture becomes dense. Each makes a new model from an old one, whose weights it does not change.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "moe/nn/transformer_lm.h"

namespace moe {

struct UpcycleOptions {
  int64_t copies = 8, top_k = 2;  // experts and choices before a split
  int64_t split = 1;  // each copy is cut into so many experts (He et al. 2024, arXiv:2410.07524)
  std::string layers = "all";  // which blocks become MoE
  uint64_t seed = 1;           // of the router
};
/// Sparse upcycling (Komatsuzaki et al. 2023, arXiv:2212.05055): every expert is a copy of the
/// dense network, the router is new, weights are normalised, so that the first forward is that of
/// the dense model up to rounding. With a split, expert c * split + g holds part g of copy c, the
/// parts of one copy share their router row, and their down projections are multiplied by split, so
/// that equality holds there too. Throws Error for a model with experts, or a width that split does
/// not divide.
std::unique_ptr<TransformerLM> upcycle(const TransformerLM& dense, const UpcycleOptions& options);

/// usage[l][e]: share of the picks of MoE layer l. Keeps the n most used experts of each layer.
std::unique_ptr<TransformerLM> prune_experts(const TransformerLM& model, int64_t n,
                                             const std::vector<std::vector<double>>& usage);

/// Merges experts until n a layer are left: again and again the two whose router rows are most
/// alike (cosine) become their mean, weighted by usage.
std::unique_ptr<TransformerLM> merge_experts(const TransformerLM& model, int64_t n,
                                             const std::vector<std::vector<double>>& usage);

/// Every MoE layer becomes one network as wide as top_k experts and the shared ones together: the
/// top_k most used experts side by side, each weighted by its usage over theirs. Shared experts
/// with a gate cannot be expressed: Error.
std::unique_ptr<TransformerLM> densify(const TransformerLM& model,
                                       const std::vector<std::vector<double>>& usage);

}  // namespace moe
