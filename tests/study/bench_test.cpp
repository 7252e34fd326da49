// SPDX-License-Identifier: MIT
// What benchmarks count: operations, bytes, every kernel of the table. No test here looks at a
// clock.
#include "moe/study/bench.h"

#include <cstddef>
#include <gtest/gtest.h>

#include "moe/nn/accounting.h"
#include "moe/study/bench_kernels.h"
#include "moe/study/kernel_timer.h"
#include "moe/study/shapes.h"

namespace moe {
namespace {

TEST(KernelTimer, KnowsEveryEntryOfTheTable) {
  constexpr size_t kPointers = (sizeof(Kernels) - offsetof(Kernels, grouped_gemm)) / sizeof(void*);
  EXPECT_EQ(KernelTimer::n_entries(), int(kPointers));
}

TEST(KernelTimer, CountsCallsAndPutsTheTableBack) {
  const Kernels* before = &kernels(DType::f32);
  {
    KernelTimer timer;
    EXPECT_NE(&kernels(DType::f32), before);
    const Tensor x = Tensor::zeros({2, 3}, DType::f32);
    for (int i = 0; i < 3; ++i) kernels(DType::f32).add(x.view(), x.view(), x.view());
    ASSERT_EQ(timer.phases().size(), 1u);
    EXPECT_EQ(timer.phases()[0].name, "add");
    EXPECT_EQ(timer.phases()[0].calls, 3);
    timer.reset();
    EXPECT_TRUE(timer.phases().empty());
  }
  EXPECT_EQ(&kernels(DType::f32), before);
}

// By hand, as bench/peers/torch_moe.py counts its own: 65 x 384 for the tied table; per layer 4 x
// 384^2 for attention, 2 x 384 for norms, and the experts with their router; 384 for the last norm.
TEST(Shapes, HaveTheParametersOfThePeer) {
  const auto total = [](const char* shape) {
    return int64_t(count_parameters(shape_config(shape, {}).model).total);
  };
  const int64_t rest = 65 * 384 + 384, layer = 4 * 384 * 384 + 2 * 384;
  EXPECT_EQ(total("mixtral"), rest + 6 * (layer + 8 * 384 + 8 * 3 * 384 * 1024));
  EXPECT_EQ(total("fine"), rest + 6 * (layer + 32 * 384 + 33 * 3 * 384 * 256));
  EXPECT_EQ(total("nanogpt"), rest + 256 * 384 + 6 * (layer + 2 * 384 * 1536));
}

TEST(Shapes, OperationsOfATrainingStepAreCountedOncePerTokenThatUsesThem) {
  const ModelConfig mixtral = shape_config("mixtral", {}).model;
  const double matrices = 65 * 384 + 6.0 * (4 * 384 * 384 + 8 * 384 + 2 * 3 * 384 * 1024);
  EXPECT_EQ(active_matrix_parameters(mixtral), matrices);
  EXPECT_EQ(train_flop_per_token(mixtral, 256), 6 * matrices + 6.0 * 6 * 384 * 256);
}

TEST(Shapes, AnUnknownNameSuggestsTheNearest) {
  try {
    shape_config("mixtrel", {});
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("did you mean mixtral"), std::string::npos) << e.what();
    EXPECT_EQ(e.exit_code(), ExitCode::usage);
  }
}

TEST(BenchAttention, ThreeImplementationsAgreeAndOnlyNaiveGrowsWithTheSquare) {
  BenchOptions o;
  o.overrides = {"data.seq_len=200", "model.n_heads=3", "model.n_kv_heads=3", "model.head_dim=16"};
  const std::vector<AttentionTime> times = bench_attention(o, {1, 2}, {"naive", "block", "flash"});
  ASSERT_EQ(times.size(), 6u);
  // Sums of at most 200 probabilities in another order: some units in the last place of values of
  // O(1).
  for (const AttentionTime& t : times) EXPECT_LT(t.max_difference, 4e-6) << t.impl;
  EXPECT_GT(times[0].scratch_bytes, 2 * 200 * 200 * 4);
  EXPECT_LT(times[1].scratch_bytes, times[0].scratch_bytes);
  EXPECT_EQ(times[3].kv_cache_bytes, 2 * times[0].kv_cache_bytes)
      << "two kv heads keep twice one's";
}

// A short training on one layer: what is timed adds up, and the memory that was predicted holds
// what the tensors took.
TEST(BenchTrain, PhasesAddUpToTheStepAndMemoryIsPredicted) {
  BenchOptions o;
  o.overrides = {"model.n_layers=1",  "model.d_model=64",  "model.n_heads=2", "model.n_kv_heads=2",
                 "model.head_dim=32", "model.moe.d_ff=64", "data.seq_len=64"};
  o.batch = 2;
  o.steps = 1;
  const BenchResult r = bench_train(o);
  double share = 0;
  for (const BenchPhase& p : r.phases) share += p.share;
  EXPECT_NEAR(share, 1, 1e-9);
  EXPECT_EQ(r.batch, 2);
  EXPECT_GT(r.share_of_peak, 0);
  EXPECT_GT(r.predicted_bytes, r.peak_bytes);
}

}  // namespace
}  // namespace moe
