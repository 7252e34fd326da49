// SPDX-License-Identifier: MIT
// What the parts of the fast attention share outside of SIMD code: per-thread scratch, a queue of
// work items, and the T5 bias laid out for vector loads.
#pragma once

#include <algorithm>
#include <atomic>
#include <vector>

#include "moe/base/parallel.h"
#include "moe/kernels/cpu/cpu.h"
#include "moe/kernels/cpu/scratch.h"

namespace moe {

// Query rows of a tile: eight register tiles of six. Has no influence on the bits.
inline constexpr int kAttentionRows = 48;

/// Calls f(i) once for each i in [0, n), on whichever thread is free: causal tiles and unequal
/// sequences differ in cost. Below 2^16 multiply-adds in all, waking the team costs more than it
/// saves.
template <class F>
void for_each_attention_item(int64_t n, int64_t multiply_adds, F f) {
  std::atomic<int64_t> next{0};
  parallel_for(multiply_adds < (1 << 16) ? 1 : std::min<int64_t>(n, n_threads()), 1,
               [&](int64_t, int64_t) {
                 for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < n;) f(i);
               });
}

/// First key that query `position` sees.
inline int64_t first_visible_key(const AttentionConfig& c, int64_t position) {
  return c.window > 0 ? std::max<int64_t>(0, position + 1 - c.window) : 0;
}

/// The T5 bias by falling distance, one row a head, so that ascending keys are ascending addresses.
/// Distances beyond `reach` take the last entry, which a pad of one vector in front repeats; the
/// pad behind lies under the mask.
class T5BiasRows {
 public:
  void fill(const AttentionConfig& c, int64_t largest_distance) {
    if (!c.t5_table_UH) return;
    reach_ = std::min(int64_t(c.t5_bucket_of_distance.size()) - 1, largest_distance);
    stride_ = reach_ + 1 + 2 * kPad;
    values_.assign(size_t(c.H * stride_), 0.0f);
    for (int64_t h = 0; h < c.H; ++h)
      for (int64_t x = -kPad; x <= reach_; ++x) {
        const int64_t distance = reach_ - std::max<int64_t>(x, 0);
        values_[size_t(h * stride_ + kPad + x)] =
            c.t5_table_UH.at<float>(c.t5_bucket_of_distance[size_t(distance)], h);
      }
  }
  /// 16 readable floats: the bias of keys query + key_minus_query + 0 ... 15, as far as they are <=
  /// query.
  const float* at(int64_t head, int64_t key_minus_query) const {
    return values_.data() + head * stride_ + kPad +
           std::max<int64_t>(reach_ + key_minus_query, -kPad);
  }

 private:
  static constexpr int64_t kPad = 16;
  std::vector<float> values_;
  int64_t reach_ = 0, stride_ = 0;
};

}  // namespace moe
