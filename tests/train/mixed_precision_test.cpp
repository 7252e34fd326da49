// SPDX-License-Identifier: MIT
// Training in bf16 and f16: near the float32 run; loss scaling; recomputation in whole runs.
#include <cmath>
#include <gtest/gtest.h>

#include "moe/base/fs.h"
#include "moe/base/parallel.h"
#include "moe/nn/init.h"
#include "moe/optim/loss_scaler.h"
#include "moe/train/metrics.h"
#include "moe/train/run.h"
#include "moe/train/trainer.h"

#include "tests/base/temp_folder.h"
#include "tests/train/tiny_run.h"

namespace moe {
namespace {

struct Averaging : TinyRun {
  explicit Averaging(std::vector<std::string> changes)
      : TinyRun(with_average(std::move(changes))) {}
  static std::vector<std::string> with_average(std::vector<std::string> changes) {
    changes.insert(changes.begin(), {"train.grad_accum=2", "optim.ema=0.9"});
    return changes;
  }
  std::vector<Tensor> weights() const {
    std::vector<Tensor> out;
    for (const Parameter& p : model->parameters()) out.push_back(p.var.value().clone());
    for (const Buffer& b : model->buffers()) out.push_back(b.value.clone());
    return out;
  }
  std::vector<Tensor> state() const {
    const Trainer::Averaged averaged(*trainer);
    std::vector<Tensor> out;
    for (const TensorSource& source : trainer->state_tensors()) {
      std::string bytes;
      source.content([&](std::span<const std::byte> part) {
        bytes.append(reinterpret_cast<const char*>(part.data()), part.size());
      });
      out.push_back(Tensor::from<uint8_t>(
          {int64_t(bytes.size())}, {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}));
    }
    return out;
  }
};

void expect_same_bits(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(same_bits(a[i], b[i])) << i;
}

TEST(MixedPrecision, LearnsAsFloat32Does) {
  Averaging exact({}), bf16({"train.compute_dtype=bf16"}), f16({"train.compute_dtype=f16"});
  StepResult a, b, c;
  for (int i = 0; i < 60; ++i) {
    a = exact.trainer->step();
    b = bf16.trainer->step();
    c = f16.trainer->step();
    // The same data: the losses part by what rounding to 8 or 11 bits makes of them, which a
    // hundred small steps do not let grow to a tenth (and a hundredth) of a nat.
    ASSERT_NEAR(b.lm_loss, a.lm_loss, 0.1) << i;
    ASSERT_NEAR(c.lm_loss, a.lm_loss, 0.02) << i;
    EXPECT_FALSE(c.skipped);
  }
  EXPECT_LT(a.lm_loss, 3.5);  // from log 50 = 3.9: something was learned
  EXPECT_NE(a.lm_loss, b.lm_loss);
  EXPECT_EQ(c.loss_scale, 65536);
}

TEST(MixedPrecision, AnOverflowHalvesTheScaleAndChangesNothingElse) {
  // No gradient of a loss of a few nats times 2^40 fits into float16.
  Averaging s({"train.compute_dtype=f16", "train.loss_scale=1099511627776",
               "model.moe.router=sigmoid_bias"});
  const std::vector<Tensor> weights = s.weights(), state = s.state();
  double scale = 1099511627776;
  int skipped = 0;
  while (true) {
    ASSERT_LT(skipped, 60);
    const StepResult r = s.trainer->step();
    EXPECT_EQ(r.loss_scale, scale);
    EXPECT_EQ(r.step, skipped + 1);
    EXPECT_EQ(metrics_object(r, 1, {}).at("loss_scale").to_number<double>(), scale);
    if (!r.overflowed) break;
    EXPECT_TRUE(r.skipped);
    EXPECT_FALSE(std::isfinite(r.grad_norm));
    EXPECT_TRUE(std::isfinite(r.loss));
    expect_same_bits(s.weights(), weights);
    expect_same_bits(s.state(), state);
    scale /= 2;
    ++skipped;
  }
  EXPECT_GT(skipped, 5);
  EXPECT_FALSE(same_bits(s.weights()[0], weights[0]));
  EXPECT_EQ(s.trainer->state_json().at("optimizer_steps").to_number<int64_t>(), 1);
}

TEST(MixedPrecision, TheScaleIsAPowerOfTwoAndDoesNotMoveTheGradient) {
  Averaging small({"train.compute_dtype=f16", "train.loss_scale=1024"}),
      large({"train.compute_dtype=f16", "train.loss_scale=5000"});  // lowered to 4096
  const StepResult a = small.trainer->step(), b = large.trainer->step();
  EXPECT_EQ(a.loss_scale, 1024);
  EXPECT_EQ(b.loss_scale, 4096);
  // Subnormal float16 numbers are the only difference.
  EXPECT_NEAR(a.grad_norm, b.grad_norm, 1e-3 * a.grad_norm);
}

TEST(LossScaler, HalvesAndDoubles) {
  LossScaler s(300, 3);
  EXPECT_EQ(s.scale(), 256);
  EXPECT_FALSE(s.overflowed(true));
  EXPECT_FALSE(s.overflowed(true));
  EXPECT_TRUE(s.overflowed(false));  // counting begins again
  EXPECT_EQ(s.scale(), 128);
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(s.overflowed(true));
  EXPECT_EQ(s.scale(), 256);
  LossScaler other(1, 0);
  other.load_state(s.state(), "test");
  EXPECT_EQ(other.scale(), 256);
  EXPECT_EQ(other.overflows(), 1);
  LossScaler lowest(1, 0);
  EXPECT_FALSE(lowest.overflowed(false));  // the step is bad at any scale
  EXPECT_EQ(lowest.scale(), 1);
}

RunConfig tiny(const std::string& run_dir, std::vector<std::string> changes) {
  std::vector<std::string> all = {
      "run_dir=" + run_dir,   "model.n_layers=2",        "model.d_model=24",
      "model.n_heads=2",      "model.n_kv_heads=1",      "model.head_dim=8",
      "model.max_seq_len=32", "model.moe.n_experts=4",   "model.moe.d_ff=16",
      "model.moe.layers=[1]", "model.d_ff=40",           "model.dropout=0.1",
      "data.seq_len=32",      "optim.lr=0.01",           "optim.warmup_steps=3",
      "train.steps=12",       "train.batch_size=3",      "train.eval_every=6",
      "train.eval_windows=4", "train.checkpoint_every=4"};
  all.insert(all.end(), changes.begin(), changes.end());
  return read_run_config({.file = "", .overrides = all});
}

std::string weights_after(const RunConfig& config, bool resume = false, int64_t stop_after = 1000) {
  RunOptions options;
  options.quiet = true;
  options.resume = resume;
  int64_t steps = 0;
  options.stop_requested = [&] { return ++steps >= stop_after; };
  const RunResult run = run_training(config, options);
  return read_file(run.checkpoint + "/model.safetensors");
}

TEST(MixedPrecision, ResumedAndThreadedRunsHaveTheSameBits) {
  for (const char* dtype : {"bf16", "f16"}) {
    SCOPED_TRACE(dtype);
    const TempFolder folder;
    const std::vector<std::string> changes = {std::string("train.compute_dtype=") + dtype,
                                              "train.loss_scale=16777216",
                                              "train.loss_scale_window=2"};
    const auto with = [&](const char* more) {
      std::vector<std::string> all = changes;
      all.push_back(more);
      return all;
    };
    const std::string whole = weights_after(tiny(folder.path() + "/a", with("train.threads=1")));
    weights_after(tiny(folder.path() + "/b", with("train.threads=2")), false, 5);
    EXPECT_TRUE(weights_after(tiny(folder.path() + "/b", with("train.threads=2")), true) == whole);
  }
  set_threads(0);
}

TEST(Recomputed, RunsHaveTheSameBits) {
  const TempFolder folder;
  const std::string none = weights_after(tiny(folder.path() + "/none", {}));
  for (const char* mode : {"ffn", "block"})
    EXPECT_TRUE(weights_after(tiny(folder.path() + "/" + mode,
                                   {std::string("train.recompute=") + mode})) == none)
        << mode;
}

}  // namespace
}  // namespace moe
