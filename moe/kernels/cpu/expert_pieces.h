// SPDX-License-Identifier: MIT
// How a grouped product is cut for the thread team: experts lie one after the other on a line, each
// as long as its work, and the line is cut into equal parts, a few per thread where there is enough
// to do. An expert that is cut is split along
// one dimension of its output, so no sum is.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "moe/base/parallel.h"

namespace moe {

/// Multiply-adds below which a thread is not worth waking: a few microseconds' worth.
inline constexpr int64_t kMinMultiplyAddsPerThread = 1 << 18;

/// Calls f(e, begin, end) for disjoint ranges that together cover [0, extent(e)) of every expert
/// that has rows; ranges start at multiples of grain. `numel`: elements of one expert's weight.
template <class Extent, class F>
void for_expert_pieces(std::span<const int32_t> offsets_E1, int64_t experts, int64_t numel,
                       int64_t grain, Extent extent, F f) {
  // Reading a weight from memory takes about as long as 16 rows of multiply-adds with it.
  constexpr int64_t kRowsPerWeightRead = 16;
  const auto cost = [&](int64_t e) {
    const int64_t rows = offsets_E1[size_t(e) + 1] - offsets_E1[size_t(e)];
    return rows > 0 ? rows + kRowsPerWeightRead : 0;
  };
  int64_t total = 0;
  for (int64_t e = 0; e < experts; ++e) total += cost(e);
  constexpr int64_t kPartsPerThread = 4, kMultiplyAddsOfAPart = 1 << 22;
  const int64_t work = total * numel, threads = n_threads();
  const int64_t parts = std::clamp<int64_t>(
      work / kMultiplyAddsOfAPart / threads * threads,
      std::clamp<int64_t>(work / kMinMultiplyAddsPerThread, 1, threads), kPartsPerThread * threads);
  parallel_for(parts, 1, [&](int64_t first_part, int64_t last_part) {
    const int64_t begin = total * first_part / parts, end = total * last_part / parts;
    int64_t start = 0;  // of expert e on the line
    for (int64_t e = 0; e < experts && start < end; ++e) {
      const int64_t c = cost(e);
      if (c > 0 && start + c > begin) {
        const int64_t n = extent(e);
        const auto cut = [&](int64_t at) {
          return at >= start + c ? n : at <= start ? 0 : n * (at - start) / c / grain * grain;
        };
        if (cut(begin) < cut(end)) f(e, cut(begin), cut(end));
      }
      start += c;
    }
  });
}

}  // namespace moe
