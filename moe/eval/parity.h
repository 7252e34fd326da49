// SPDX-License-Identifier: MIT
// Principle 1, measured: the logits of a model, bit by bit, over batch sizes, threads, prefill,
// decode, chunks, packing and kernel tables.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moe/kernels/kernels.h"
#include "moe/nn/transformer_lm.h"

namespace moe {

struct ParityReport {
  int64_t comparisons = 0;  // logits compared
  int64_t differing_bits = 0;
  std::string first_difference;  // "" or which set-up, sequence, token and id
};

/// Runs random sequences in every combination of batch {1, 3, 8} x threads {1, 2} x {prefill, token
/// by token, chunked} x {packed, alone} x tables and compares each logit with the same sequence
/// alone in one prefill on the scalar reference. tables: usually ref<float> and every cpu table.
/// Restores the threads and the table in use.
ParityReport check_parity(const TransformerLM& model, const std::vector<const Kernels*>& tables,
                          uint64_t seed, const std::function<void(double)>& progress = {});

/// ref<float> and every fast table of this machine.
std::vector<const Kernels*> all_f32_tables();

}  // namespace moe
