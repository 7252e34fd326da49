// SPDX-License-Identifier: MIT
// The golden models of tests/golden/families (tools/make_model_golden.py) and what tests compare
// with them.
#pragma once

#include <gtest/gtest.h>
#include <string>
#include <vector>

#include "moe/base/json.h"
#include "moe/families/model_folder.h"
#include "moe/io/safetensors.h"

namespace moe {

/// One golden model: two prompts and what transformers computes for them in float64.
struct Oracle {
  explicit Oracle(const std::string& name);

  std::string folder;
  std::vector<std::vector<int32_t>> input_ids, greedy;
  std::vector<double> loss;
  std::vector<int64_t> moe_layers;
  SafetensorsFile tensors;  // logits, hidden states and routes, rounded to float32
};

/// Names of all golden models; those that come with gradients; with twenty training steps.
const std::vector<std::string>& oracle_names();
std::string golden_folder(const std::string& name);

/// The element as double.
double element(const Tensor& t, int64_t i);
/// Largest absolute difference; fails the test when the shapes differ. NaN counts as infinite.
double max_difference(const Tensor& a, const Tensor& b);

/// The model's mean next-token cross-entropy over the sequences, as a scalar Var.
Var next_token_loss(const TransformerLM& model, const LmOutput& output,
                    const std::vector<std::vector<int32_t>>& sequences);

/// A tensor as its norm, its first values and sum value[i] cos(i), which sees a wrong layout.
struct Digest {
  double norm = 0, cos_sum = 0;
  std::vector<double> head;
};
Digest digest_of(const Tensor& values);
/// Expects a tensor to agree with the digest under `name` of a golden file, within tolerance x
/// norm. Returns the largest difference in units of the norm.
double expect_digest(const JsonObject& golden, const std::string& name, const Tensor& values,
                     double tolerance);

/// A source's tensor.
Tensor content_of(const TensorSource& source);

}  // namespace moe
