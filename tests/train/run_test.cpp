// SPDX-License-Identifier: MIT
// Whole runs in their folders: resume bit for bit, threads, micro-batches, interruption, damage,
// refusals.
#include "moe/train/run.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "moe/base/parallel.h"
#include "moe/data/dataset.h"
#include "moe/io/checkpoint.h"
#include "moe/nn/init.h"
#include "moe/ops/cross_entropy.h"

namespace moe {
namespace {

class Folder {
 public:
  Folder() {
    std::string name = "/tmp/moe-run-XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~Folder() { remove_all(real_fs(), path_); }
  std::string operator/(const std::string& name) const { return join_path(path_, name); }

 private:
  std::string path_;
};

RunConfig tiny(const std::string& run_dir) {
  return read_run_config(
      {.file = "", .overrides = {"run_dir=" + run_dir,   "model.n_layers=2",
                                 "model.d_model=24",     "model.n_heads=2",
                                 "model.n_kv_heads=1",   "model.head_dim=8",
                                 "model.max_seq_len=32", "model.moe.n_experts=4",
                                 "model.moe.d_ff=16",    "model.moe.layers=[1]",
                                 "model.d_ff=40",        "model.dropout=0.1",
                                 "data.seq_len=32",      "optim.lr=0.01",
                                 "optim.warmup_steps=3", "train.steps=12",
                                 "train.batch_size=3",   "train.eval_every=6",
                                 "train.eval_windows=4", "train.checkpoint_every=4",
                                 "train.threads=1"}});
}

RunOptions quiet() {
  RunOptions options;
  options.quiet = true;
  return options;
}

// Files that must be equal bit for bit after equal runs.
std::vector<std::string> outcome(const std::string& run_dir, int64_t step) {
  const std::string folder = fmt::format("{}/checkpoints/ckpt-{:06}", run_dir, step);
  std::vector<std::string> files = {read_file(folder + "/model.safetensors"),
                                    read_file(folder + "/optimizer.safetensors")};
  std::string losses;
  for (const std::string& line : split(read_file(run_dir + "/metrics.jsonl"), '\n')) {
    if (line.empty()) continue;
    JsonObject o = parse_json(line, "metrics").as_object();
    o.erase("tokens_per_second");  // the only field that depends on the clock
    losses += to_json_line(o) + "\n";
  }
  files.push_back(losses);
  return files;
}

// Trains until `stop_after` steps of this process, then asks to stop.
RunResult run_until(const RunConfig& config, int64_t stop_after, bool resume = false) {
  RunOptions options = quiet();
  options.resume = resume;
  int64_t steps = 0;
  options.stop_requested = [&] { return ++steps >= stop_after; };
  return run_training(config, options);
}

TEST(TrainingRun, ResumedRunEqualsTheUndisturbedOneBitForBit) {
  const Folder folder;
  for (const char* optimizer : {"adamw", "muon", "sgd"}) {
    SCOPED_TRACE(optimizer);
    RunConfig whole = tiny(folder / (std::string("whole-") + optimizer)),
              cut = tiny(folder / (std::string("cut-") + optimizer));
    whole.optim.name = cut.optim.name = optimizer;
    whole.optim.ema = cut.optim.ema = 0.9;
    run_training(whole, quiet());
    EXPECT_EQ(run_until(cut, 5).end, RunResult::End::interrupted);
    EXPECT_EQ(run_until(cut, 4, true).steps, 9);
    RunOptions resume = quiet();
    resume.resume = true;
    EXPECT_EQ(run_training(cut, resume).end, RunResult::End::finished);
    EXPECT_EQ(outcome(whole.run_dir, 12), outcome(cut.run_dir, 12));
  }
}

TEST(TrainingRun, ThreadsDoNotChangeABit) {
  const Folder folder;
  RunConfig one = tiny(folder / "one"), two = tiny(folder / "two");
  two.train.threads = 2;
  run_training(one, quiet());
  run_training(two, quiet());
  set_threads(1);
  EXPECT_EQ(outcome(one.run_dir, 12), outcome(two.run_dir, 12));
}

TEST(TrainingRun, ADamagedNewestCheckpointFallsBackToTheOneBefore) {
  const Folder folder;
  const RunConfig whole = tiny(folder / "whole"), hurt = tiny(folder / "hurt");
  run_training(whole, quiet());
  run_until(hurt, 9);
  for (const bool truncate : {true, false}) {
    const std::string path = hurt.run_dir + "/checkpoints/ckpt-000009/model.safetensors";
    if (!exists(path)) continue;
    std::string bytes = read_file(path);
    if (truncate)
      bytes.resize(bytes.size() / 2);
    else
      bytes[bytes.size() / 2] = char(bytes[bytes.size() / 2] ^ 4);
    write_file_atomic(real_fs(), path, bytes);
  }
  RunOptions resume = quiet();
  resume.resume = true;
  run_training(hurt, resume);
  EXPECT_EQ(outcome(whole.run_dir, 12), outcome(hurt.run_dir, 12));
}

TEST(TrainingRun, RefusesAFolderWithACheckpointUnlessResumed) {
  const Folder folder;
  const RunConfig config = tiny(folder / "run");
  run_training(config, quiet());
  EXPECT_THROW(run_training(config, quiet()), Error);
  RunOptions resume = quiet();
  resume.resume = true;
  EXPECT_EQ(run_training(config, resume).end, RunResult::End::already_finished);
}

TEST(TrainingRun, ResumeWithoutACheckpointStartsAtStepZero) {
  const Folder folder;
  RunOptions resume = quiet();
  resume.resume = true;
  EXPECT_EQ(run_training(tiny(folder / "new"), resume).steps, 12);
}

TEST(TrainingRun, ASecondJobOnTheSameFolderIsRefused) {
  const Folder folder;
  const RunConfig config = tiny(folder / "run");
  RunOptions options = quiet();
  options.stop_requested = [&] {
    try {
      run_training(config, quiet());
      ADD_FAILURE() << "the second job was let in";
    } catch (const Error& e) {
      EXPECT_EQ(e.exit_code(), ExitCode::try_again);
    }
    return true;
  };
  run_training(config, options);
}

TEST(TrainingRun, DivergenceStopsWithAClearLineAndKeepsTheLastCheckpoint) {
  const Folder folder;
  RunConfig config = tiny(folder / "run");
  config.optim.name = "sgd";
  config.optim.lr = 1e6;
  config.optim.grad_clip = 0;
  config.train.steps = 200;
  config.train.checkpoint_every = 1;
  try {
    run_training(config, quiet());
    FAIL() << "no divergence";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("diverged"), std::string::npos) << e.what();
  }
  EXPECT_FALSE(newest_valid_checkpoint(config.run_dir).path.empty());
}

TEST(Trainer, FourMicroBatchesEqualOneBatchBitForBitWithoutAuxiliaryLosses) {
  const Folder folder;
  RunConfig one = tiny(folder / "a"), four = tiny(folder / "b");
  for (RunConfig* c : {&one, &four}) {
    c->model.moe.aux_loss_weight = c->model.moe.z_loss_weight = 0;
    c->train.steps = 3;
    c->train.eval_every = 0;
  }
  one.train.batch_size = 4;
  four.train.batch_size = 1;
  four.train.grad_accum = 4;
  run_training(one, quiet());
  run_training(four, quiet());
  EXPECT_EQ(outcome(one.run_dir, 3)[0], outcome(four.run_dir, 3)[0]);
  EXPECT_EQ(outcome(one.run_dir, 3)[1], outcome(four.run_dir, 3)[1]);
}

TEST(Trainer, ATiedWeightGetsBothUsesGradients) {
  const Folder folder;
  RunConfig config = tiny(folder / "run");
  const Dataset data = open_dataset(config.data, 1);
  config.model.vocab_size = data.vocab_size;
  TransformerLM model(config.model);
  initialize(model, 1);
  const Tensor before = model.parameters()[0].var.value().clone();
  Trainer trainer(config, data, model);
  trainer.step();
  EXPECT_FALSE(same_bits(before, model.parameters()[0].var.value()));
}

}  // namespace
}  // namespace moe
