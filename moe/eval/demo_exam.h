// SPDX-License-Identifier: MIT
// The exam of the built-in corpus: exact answers to prompts that training never held, and which
// experts took up which subject.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moe/eval/specialization.h"
#include "moe/nn/transformer_lm.h"
#include "moe/text/tokenizer.h"

namespace moe {

struct SubjectScore {
  std::string subject;
  int64_t correct = 0, asked = 0;
  std::vector<std::string> examples;  // "prompt -> answer", right or wrong as it came
};

/// Asks n unseen prompts of each subject, greedily. progress: share done.
std::vector<SubjectScore> demo_exam(const TransformerLM& model, const Tokenizer& tokenizer,
                                    int64_t n, uint64_t seed,
                                    const std::function<void(double)>& progress = {});

struct DemoRoutes {
  std::vector<int> layers;                               // MoE layers
  std::vector<std::vector<std::vector<int64_t>>> picks;  // [layer][expert][subject]
  Specialization specialization;
};
/// Routes n unseen samples of each subject. Throws Error for a model without experts.
DemoRoutes demo_routes(const TransformerLM& model, const Tokenizer& tokenizer, int64_t n,
                       int64_t n_shuffles, uint64_t seed);

}  // namespace moe
