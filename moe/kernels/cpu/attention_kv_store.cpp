// SPDX-License-Identifier: MIT
// New keys and values into a sequence's blocks: keys are transposed to [A][64], so that scores of
// consecutive keys are consecutive lanes; values are copied. Slots and pad columns that hold no
// token are not touched.
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moe/kernels/cpu/attention_kv_store.cpp"
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#include "hwy/foreach_target.h"
// After foreach_target.h, which includes this file again.
#include "moe/kernels/cpu/attention-inl.h"
#include "moe/kernels/cpu/frame.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
HWY_BEFORE_NAMESPACE();
namespace moe::HWY_NAMESPACE {
namespace {

// Positions [begin, end) of the sequence, all in one block.
void store_block(const KvStore& st, const AttentionSequence& s, int64_t begin, int64_t end) {
  const int64_t block = begin / kKvBlock, slot = begin % kKvBlock, row = s.row + begin - s.position,
                width = kv_value_width(st.Av);
  for (int64_t g = 0; g < st.G; ++g) {
    float* k = static_cast<float*>(s.kv.k[block]) + g * s.kv.k_head_stride + slot;
    float* v = static_cast<float*>(s.kv.v[block]) + g * s.kv.v_head_stride + slot * width;
    transpose(st.k.row<float>(row) + g * st.A, st.k.stride, k, kKvBlock, int(end - begin),
              int(st.A));
    for (int64_t i = 0; i < end - begin; ++i)
      std::memcpy(v + i * width, st.v.row<float>(row + i) + g * st.Av,
                  size_t(st.Av) * sizeof(float));
  }
}

}  // namespace

void kv_store(const KvStore& st) {
  for (const AttentionSequence& s : st.sequences) {
    if (s.n == 0) continue;
    const int64_t end = s.position + s.n, first = s.position / kKvBlock,
                  blocks = (end + kKvBlock - 1) / kKvBlock - first;
    for_row_ranges(blocks, kKvBlock * st.G * (st.A + st.Av),
                   [&](int64_t from, int64_t to) HWY_ATTR {
                     for (int64_t b = first + from; b < first + to; ++b)
                       store_block(st, s, std::max(s.position, b * kKvBlock),
                                   std::min(end, (b + 1) * kKvBlock));
                   });
  }
}

}  // namespace moe::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
