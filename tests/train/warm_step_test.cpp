// SPDX-License-Identifier: MIT
// A warm training step takes all its tensors from blocks that earlier steps gave back.
#include <gtest/gtest.h>

#include "moe/base/parallel.h"
#include "moe/nn/init.h"
#include "moe/tensor/allocator.h"
#include "moe/tensor/tensor.h"
#include "moe/train/trainer.h"

#include "tests/train/square_windows.h"

namespace moe {
namespace {

TEST(WarmStep, AsksTheSystemForNoStorage) {
  set_threads(1);  // how many blocks Muon's matrices need at once depends on which threads meet
  for (const auto& [optimizer, dtype, recompute] :
       {std::tuple{"adamw", "f32", "none"}, std::tuple{"muon", "f32", "none"},
        std::tuple{"sgd", "f32", "none"}, std::tuple{"adamw", "bf16", "block"},
        std::tuple{"adamw", "f16", "ffn"}}) {
    SCOPED_TRACE(str(optimizer, " ", dtype, " ", recompute));
    RunConfig config = read_run_config(
        {.file = "",
         .overrides = {"model.n_layers=2", "model.d_model=48", "model.n_heads=2",
                       "model.n_kv_heads=2", "model.head_dim=24", "model.max_seq_len=64",
                       "model.moe.n_experts=4", "model.moe.d_ff=32", "data.seq_len=64",
                       "train.batch_size=4", "train.grad_accum=2", "optim.ema=0.9",
                       str("optim.name=", optimizer), str("train.compute_dtype=", dtype),
                       str("train.recompute=", recompute)}});
    Dataset data;
    data.train = std::make_shared<SquareWindows>(64);
    config.model.vocab_size = data.vocab_size = 50;
    TransformerLM model(config.model);
    initialize(model, 1);
    Trainer trainer(config, data, model);
    for (int i = 0; i < 3; ++i) trainer.step();
    const int64_t before = tensor_system_allocations();
    for (int i = 0; i < 5; ++i) trainer.step();
    EXPECT_EQ(tensor_system_allocations(), before);
  }
  set_threads(0);
}

}  // namespace
}  // namespace moe
