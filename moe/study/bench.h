// SPDX-License-Identifier: MIT
// How fast a model trains, decodes and reads prompts on this machine, beside the machine's own
// ceilings sampled in the same seconds, and where the time goes.
#pragma once

#include <string>
#include <vector>

#include "moe/base/json.h"
#include "moe/train/run_config.h"

namespace moe {

struct BenchOptions {
  std::string shape = "mixtral";       // see shapes.h
  std::vector<std::string> overrides;  // key=value of the configuration
  int64_t batch = 0;                   // 0: the configuration's (train) or 1 (decode, prefill)
  int64_t steps = 0;                   // timed steps; 0: what a few seconds allow
  int64_t prompt = 32, tokens = 200;   // decode
};

struct BenchPhase {
  std::string name;
  double seconds = 0;  // of one step
  double share = 0;    // of the step
};

/// Medians over the timed steps.
struct BenchResult {
  std::string what, shape, kernels;
  int threads = 0;
  int64_t batch = 0, steps = 0;
  double tokens_per_second = 0;
  double seconds = 0;           // of one step (train: the whole step; decode: one token of each)
  double gflop_per_second = 0;  // train and prefill
  double peak_gflop_per_second = 0, share_of_peak = 0;
  double gigabytes_per_second = 0;  // decode: bytes of the weights that the step read
  double bandwidth_gigabytes_per_second = 0, share_of_bandwidth = 0;
  double optimizer_seconds = 0;  // train: shown apart
  int64_t peak_bytes = 0;        // of tensors, while the steps ran
  int64_t predicted_bytes = 0;   // train: of the whole process (nn/accounting.h)
  int64_t parameters = 0;
  std::vector<BenchPhase> phases;  // largest first; "other" is what no kernel accounts for
};

/// Whole optimiser steps on random tokens. The peak is sampled between the steps.
BenchResult bench_train(const BenchOptions& options);
/// Greedy decoding of `batch` sequences after a prompt.
BenchResult bench_decode(const BenchOptions& options);
/// The forward pass over `batch` prompts of the configuration's seq_len.
BenchResult bench_prefill(const BenchOptions& options);

JsonObject to_json(const BenchResult& result);

}  // namespace moe
