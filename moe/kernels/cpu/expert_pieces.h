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

/// The same for a product whose rows share rows of the output, which each takes in ascending order:
/// pieces are ranges of output rows and of columns, and every piece passes all experts. Calls f(e,
/// first_row, last_row, first_column, last_column) for rows of expert e, experts ascending.
/// `row_R`: the output row of each product row, ascending inside an expert.
template <class F>
void for_shared_row_pieces(std::span<const int32_t> offsets_E1, int64_t experts,
                           const int32_t* row_R, int64_t n_rows, int64_t cols,
                           int64_t multiply_adds, F f) {
  // Fewer rows of an expert in a piece leave its last tile half empty; narrower columns read the
  // other operand more often.
  constexpr int64_t kMinRows = 192, kMinColumns = 64, kGrain = 32, kPartsPerThread = 4;
  int64_t with_rows = 0;
  for (int64_t e = 0; e < experts; ++e)
    with_rows += offsets_E1[size_t(e)] < offsets_E1[size_t(e) + 1];
  if (with_rows == 0) return;
  const int64_t threads = n_threads(),
                most = std::clamp<int64_t>(multiply_adds / kMinMultiplyAddsPerThread, 1,
                                           kPartsPerThread * threads);
  const int64_t row_parts =
      std::clamp<int64_t>(offsets_E1[size_t(experts)] / with_rows / kMinRows, 1, most);
  const int64_t column_parts =
      row_parts >= threads
          ? 1
          : std::clamp<int64_t>(most / row_parts, 1, std::max<int64_t>(1, cols / kMinColumns));
  parallel_for(row_parts * column_parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      const int64_t i = part / column_parts, j = part % column_parts;
      const auto column = [&](int64_t n) {
        return n == column_parts ? cols : cols * n / column_parts / kGrain * kGrain;
      };
      const auto limit = [&](int64_t n) { return int32_t(n_rows * n / row_parts); };
      for (int64_t e = 0; e < experts; ++e) {
        const int32_t *first = row_R + offsets_E1[size_t(e)],
                      *last = row_R + offsets_E1[size_t(e) + 1];
        const int64_t r0 = std::lower_bound(first, last, limit(i)) - row_R,
                      r1 = std::lower_bound(first, last, limit(i + 1)) - row_R;
        if (r0 < r1 && column(j) < column(j + 1)) f(e, r0, r1, column(j), column(j + 1));
      }
    }
  });
}

}  // namespace moe
