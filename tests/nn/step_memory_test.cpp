// SPDX-License-Identifier: MIT
// What a step is predicted to take in each mode against what its tensors take.
#include <gtest/gtest.h>

#include "moe/nn/accounting.h"

namespace moe {
namespace {

TEST(StepMemory, ModesTakeLess) {
  ModelConfig c;
  c.vocab_size = 64;
  for (const bool moe : {false, true}) {
    c.has_moe = moe;
    const auto bytes = [&](DType dtype, Recompute recompute) {
      return total_bytes(training_memory(c, 32, 256, 2, {dtype, recompute}));
    };
    const double plain = bytes(DType::f32, Recompute::none);
    EXPECT_LT(bytes(DType::bf16, Recompute::none), 0.9 * plain);
    EXPECT_LT(bytes(DType::f32, Recompute::ffn), 0.9 * plain);
    EXPECT_LT(bytes(DType::f32, Recompute::block), bytes(DType::f32, Recompute::ffn));
    EXPECT_EQ(bytes(DType::f16, Recompute::block), bytes(DType::bf16, Recompute::block));
  }
}

}  // namespace
}  // namespace moe
