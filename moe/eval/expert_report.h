// SPDX-License-Identifier: MIT
// What the experts of a trained model do on some text: load, sharpness of the router, who works
// together, and whether experts take up subjects, tokens or scripts.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moe/eval/specialization.h"
#include "moe/nn/transformer_lm.h"
#include "moe/text/tokenizer.h"

namespace moe {

struct ExpertLayerReport {
  int layer = 0;
  std::vector<double> load_E;  // share of the picks before any drop
  double max_violation = 0;    // largest load over the mean, less 1
  double cv = 0;               // standard deviation of the loads over their mean
  double entropy = 0;          // of the load over ln E: 1 is even
  double router_entropy = 0;   // of a token's softmax, in nats, mean
  double top1_mass = 0;        // largest probability of a token, mean
  double margin = 0;           // k-th less k + 1st probability of a token, mean; 0 without one
  std::vector<int32_t> dead;   // load below 1 % of the fair share
  int64_t dropped = 0;
  /// [i][j]: of the tokens that take expert i, the share that takes j as well.
  std::vector<std::vector<double>> together_EE;
  std::vector<std::vector<double>> counts_EC;  // picks by expert and category
};

struct ExpertReport {
  int64_t tokens = 0;
  std::vector<ExpertLayerReport> layers;
  std::vector<std::string> categories;
  Specialization specialization;  // of experts and categories; n_shuffles 0: not measured
  bool is_significant = false;    // above the 99th percentile of the shuffles
  /// The first tokens' texts and, layer by layer, their experts: [layer][token][expert] = weight
  /// is not kept, 1 where the token took it.
  std::vector<std::string> mask_tokens;
  std::vector<std::vector<std::vector<double>>> mask_LTE;
};

/// One piece of text with its category; categories of single tokens come from category_of instead.
struct LabelledSequence {
  std::vector<int32_t> ids;
  int32_t category = 0;
};

struct ExpertReportOptions {
  std::vector<std::string> categories;
  std::function<int32_t(int32_t id)> category_of;  // of a token; null: its sequence's
  int64_t n_shuffles = 200;
  uint64_t seed = 1;
  int64_t mask_tokens = 32;
  std::function<void(double)> progress;
};

/// Throws Error when the model has no MoE layer or nothing is to be read.
ExpertReport report_experts(const TransformerLM& model,
                            const std::vector<LabelledSequence>& sequences,
                            const Tokenizer* tokenizer, const ExpertReportOptions& options);

/// Router logits [L, T, E] in float32 of every MoE layer and token. Throws Error when a router has
/// none or the layers' numbers of outputs differ.
Tensor router_logits(const TransformerLM& model,
                     const std::vector<std::vector<int32_t>>& sequences);

/// The script of a token's text, an index into script_names(): whitespace, digits, punctuation,
/// Latin, Greek, Cyrillic, Arabic, Han, other ...
int32_t script_of(std::string_view text);
const std::vector<std::string>& script_names();

}  // namespace moe
