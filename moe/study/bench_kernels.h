// SPDX-License-Identifier: MIT
// Benchmarks of single parts on the sizes of a model: its linear maps, its attention in three
// implementations, its optimiser.
#pragma once

#include "moe/study/bench.h"

namespace moe {

/// One line of a table of measurements; share is of the multiply-add peak or of the read bandwidth
/// sampled in the same seconds.
struct KernelTime {
  std::string name, pass;  // "gate_up of 8 experts", "dx"
  double seconds = 0;
  double gflop_per_second = 0, gigabytes_per_second = 0;
  double share_of_peak = 0, share_of_bandwidth = 0;
};

/// Forward, dx and dw of each linear map of a layer and of the head, with the rows of one training
/// step (batch x seq_len tokens, spread evenly over the experts).
std::vector<KernelTime> bench_gemm(const BenchOptions& options);
/// One update of all parameters by adamw, sgd or muon, the gradient norm included. Bandwidth counts
/// each parameter, gradient and moment once in each direction it moves; Muon's products count as
/// operations instead.
std::vector<KernelTime> bench_optimizer(const BenchOptions& options);

/// Attention forward, three ways, on the same queries, keys and values:
///   naive  scores of all pairs in one [S, S] matrix a head, softmax, product
///   block  48 queries at a time against all their keys, two passes over the scores
///   flash  the engine's kernel: key blocks with a running maximum and sum; no buffer grows with
///   S^2
struct AttentionTime {
  std::string impl;
  int64_t kv_heads = 0;
  double seconds = 0, share_of_peak = 0;
  int64_t scratch_bytes = 0;   // memory beside q, k, v and the output
  int64_t kv_cache_bytes = 0;  // keys and values of S tokens, all kv heads
  double max_difference = 0;   // to the first implementation's output
};
std::vector<AttentionTime> bench_attention(const BenchOptions& options,
                                           const std::vector<int64_t>& kv_heads,
                                           const std::vector<std::string>& impls);

JsonObject to_json(const KernelTime& t);
JsonObject to_json(const AttentionTime& t);

}  // namespace moe
