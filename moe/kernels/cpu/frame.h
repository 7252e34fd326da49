// SPDX-License-Identifier: MIT
// What the row-wise and elementwise kernel files share on every target: how work is cut for the
// thread team, and how the functions of one compiled target reach the table.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "moe/base/parallel.h"
#include "moe/kernels/cpu/cpu.h"

namespace moe {

/// Fewer elements than this on a thread cost less than waking it (a wake-up is a few microseconds).
inline constexpr int64_t kElementsPerTask = 16384;

/// f(begin, end) over rows.
template <class F>
void for_row_ranges(int64_t rows, int64_t elements_per_row, F f) {
  parallel_for(rows,
               std::max<int64_t>(1, kElementsPerTask / std::max<int64_t>(1, elements_per_row)), f);
}

/// f(begin, end) over columns in multiples of 16, for chains that run down the rows.
template <class F>
void for_column_ranges(int64_t columns, int64_t rows, F f) {
  const int64_t grain = kElementsPerTask / std::max<int64_t>(1, rows);
  parallel_for(columns, std::max<int64_t>(16, grain / 16 * 16), f);
}

/// f(row, begin, end) over all elements of equally large views; rows without gaps between them are
/// cut as one long row.
template <class F>
void for_element_ranges(std::initializer_list<MatView> views, F f) {
  const MatView& first = *views.begin();
  const bool gapless = std::all_of(views.begin(), views.end(), [](const MatView& v) {
    return v.rows == 1 || v.stride == v.cols;
  });
  if (gapless)
    parallel_for(first.rows * first.cols, kElementsPerTask,
                 [&](int64_t begin, int64_t end) { f(0, begin, end); });
  else
    for_row_ranges(first.rows, first.cols, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) f(r, 0, first.cols);
    });
}

}  // namespace moe

/// Defines cpu_install_X: calls `function` of the namespace of the target, when it was compiled.
/// For the HWY_ONCE part of a file.
#define MOE_DEFINE_CPU_INSTALL(cpu_install_x, function)                                 \
  void cpu_install_x(Kernels& k, CpuTarget target) {                                    \
    using Install = void (*)(Kernels&);                                                 \
    const Install avx2 = HWY_CHOOSE_AVX2(function), avx512 = HWY_CHOOSE_AVX3(function); \
    const Install neon = HWY_CHOOSE_NEON(function);                                     \
    const Install install = target == CpuTarget::avx2     ? avx2                        \
                            : target == CpuTarget::avx512 ? avx512                      \
                                                          : neon;                       \
    if (install) install(k);                                                            \
  }
