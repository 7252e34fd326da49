// SPDX-License-Identifier: MIT
// Whole runs in their folders: resume bit for bit, threads, micro-batches, interruption, damage,
// refusals.
#include "moe/train/run.h"

#include <cmath>
#include <cstring>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <numeric>

#include "moe/base/parallel.h"
#include "moe/data/chat_dataset.h"
#include "moe/data/dataset.h"
#include "moe/families/model_folder.h"
#include "moe/io/checkpoint.h"
#include "moe/nn/init.h"
#include "moe/ops/cross_entropy.h"
#include "moe/train/adapter_report.h"
#include "moe/train/run_data.h"

#include "tests/base/temp_folder.h"

namespace moe {
namespace {

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

// English enough for a tokenizer of characters.
std::string text_of(size_t n) {
  std::string text;
  while (text.size() < n) text += "the quick brown fox jumps over the lazy dog. ";
  return text;
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
  const TempFolder folder;
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
  const TempFolder folder;
  RunConfig one = tiny(folder / "one"), two = tiny(folder / "two");
  two.train.threads = 2;
  run_training(one, quiet());
  run_training(two, quiet());
  set_threads(1);
  EXPECT_EQ(outcome(one.run_dir, 12), outcome(two.run_dir, 12));
}

TEST(TrainingRun, ADamagedNewestCheckpointFallsBackToTheOneBefore) {
  const TempFolder folder;
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
  const TempFolder folder;
  const RunConfig config = tiny(folder / "run");
  run_training(config, quiet());
  EXPECT_THROW(run_training(config, quiet()), Error);
  RunOptions resume = quiet();
  resume.resume = true;
  EXPECT_EQ(run_training(config, resume).end, RunResult::End::already_finished);
}

TEST(TrainingRun, ResumeWithoutACheckpointStartsAtStepZero) {
  const TempFolder folder;
  RunOptions resume = quiet();
  resume.resume = true;
  EXPECT_EQ(run_training(tiny(folder / "new"), resume).steps, 12);
}

TEST(TrainingRun, ASecondJobOnTheSameFolderIsRefused) {
  const TempFolder folder;
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
  const TempFolder folder;
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

TEST(TrainingRun, ALossThatIsNoNumberInAnEvaluationIsDivergenceAndDisplacesNoGoodCheckpoint) {
  const TempFolder folder;
  RunConfig config = tiny(folder / "run");
  config.optim.lr = 1e6;
  config.optim.warmup_steps = 2;
  config.model.dropout = 0;
  config.train.steps = 4;
  config.train.checkpoint_every = config.train.eval_every = config.train.keep = 1;
  const std::string error = error_of([&] { run_training(config, quiet()); });
  EXPECT_NE(error.find("diverged"), std::string::npos) << error;
  EXPECT_EQ(error.find("-nan"), std::string::npos) << error;
  const std::string good = newest_valid_checkpoint(config.run_dir).path;
  ASSERT_FALSE(good.empty());
  EXPECT_NE(error.find(good), std::string::npos) << error;
  const Dataset data = open_dataset(config.data, 1);
  RunConfig saved = *read_saved_config(good);
  TransformerLM model(saved.model);
  load_weights(model, good);
  Trainer trainer(saved, data, model);
  EXPECT_NO_THROW(trainer.evaluate());
}

TEST(TrainingRun, WeightsThatGiveNoNumberAreNotSaved) {
  const TempFolder folder;
  const RunConfig config = tiny(folder / "run");
  const Dataset data = open_dataset(config.data, 1);
  RunConfig sized = config;
  sized.model.vocab_size = data.vocab_size;
  TransformerLM model(sized.model);
  initialize(model, 1);
  Trainer trainer(sized, data, model);
  EXPECT_NO_THROW(trainer.check_weights());
  model.parameters().back().var.value().data<float>()[0] = std::nanf("");
  EXPECT_NE(error_of([&] { trainer.check_weights(); }).find("not finite"), std::string::npos);
  model.parameters().back().var.value().data<float>()[0] = 1e38f;  // finite, and overflows at once
  for (const Parameter& p : model.parameters())
    for (float& x : p.var.value().data<float>()) x *= 1e30f;
  EXPECT_THROW(trainer.check_weights(), Error);
}

TEST(TrainingRun, AnEvaluationThatIsDueTakesPlaceEvenWhenTheRunIsToStop) {
  const TempFolder folder;
  const RunConfig whole = tiny(folder / "whole"), cut = tiny(folder / "cut");
  run_training(whole, quiet());
  EXPECT_EQ(run_until(cut, 6).end, RunResult::End::interrupted);
  EXPECT_NE(read_file(cut.run_dir + "/metrics.jsonl").find("val_loss"), std::string::npos);
  run_until(cut, 99, true);
  EXPECT_EQ(outcome(whole.run_dir, 12), outcome(cut.run_dir, 12));
}

TEST(TrainingRun, ARefusedResumeLeavesTheRunAsItWas) {
  const TempFolder folder;
  const RunConfig config = tiny(folder / "run");
  run_until(config, 5);
  const std::string before = read_file(config.run_dir + "/config.yaml");
  RunOptions resume = quiet();
  resume.resume = true;
  std::vector<std::pair<RunConfig, std::string>> wrong(8, {config, ""});
  wrong[0].first.model.d_model = 32;
  wrong[0].second = "model.d_model is 32, but the run was trained with 24";
  wrong[1].first.data.path = folder / "missing.txt";
  wrong[1].second = "missing.txt";
  wrong[2].first.model.norm_eps = 1e-5;
  wrong[2].second = "model.norm_eps";
  wrong[3].first.model.moe.top_k = 1;
  wrong[3].second = "model.moe.top_k";
  wrong[4].first.train.seed = 2;
  wrong[4].second = "train.seed";
  wrong[5].first.optim.ema = 0.9;
  wrong[5].second = "without averaged weights";
  wrong[6].first.data.tokenizer = "char";
  wrong[6].second = "data.tokenizer";
  wrong[7].first.model.has_moe = false;
  wrong[7].second = "model.moe";
  for (const auto& [changed, message] : wrong) {
    const std::string error = error_of([&] { run_training(changed, resume); });
    EXPECT_NE(error.find(message), std::string::npos) << error;
    EXPECT_EQ(read_file(config.run_dir + "/config.yaml"), before) << message;
  }
  RunConfig training_keys = config;  // these may change
  training_keys.optim.lr = 0.005;
  training_keys.model.dropout = 0;
  training_keys.model.moe.aux_loss_weight = 0.02;
  EXPECT_EQ(run_training(training_keys, resume).steps, 12);
}

TEST(TrainingRun, ANewRunThatFailsLeavesNoFolderThatItMade) {
  const TempFolder folder;
  RunConfig config = tiny(folder / "a/b/run");
  config.data.path = folder / "missing.txt";
  EXPECT_THROW(run_training(config, quiet()), Error);
  EXPECT_FALSE(exists(folder / "a"));
  make_directories(real_fs(), folder / "mine");
  write_file_atomic(real_fs(), folder / "mine/note", "x");
  config.run_dir = folder / "mine/run";
  EXPECT_THROW(run_training(config, quiet()), Error);
  EXPECT_EQ(list_directory(folder / "mine"), std::vector<std::string>{"note"});
}

TEST(TrainingRun, ACheckpointIsNoRunFolder) {
  const TempFolder folder;
  RunConfig config = tiny(folder / "run");
  run_training(config, quiet());
  const std::string run = config.run_dir;
  config.run_dir = run + "/checkpoints/ckpt-000012";
  for (const bool resumed : {true, false}) {
    RunOptions options = quiet();
    options.resume = resumed;
    const std::string error = error_of([&] { run_training(config, options); });
    EXPECT_NE(error.find("moe train --resume " + run), std::string::npos) << error;
  }
  EXPECT_TRUE(verify_checkpoint(config.run_dir).empty());
  EXPECT_FALSE(exists(config.run_dir + "/lock"));
}

TEST(TrainingRun, ResumesWithoutTheSourceOfInitFromAndKeepsItsTokenizer) {
  const TempFolder folder;
  write_file_atomic(real_fs(), folder / "text.txt", text_of(4000));
  RunConfig source = tiny(folder / "source");
  source.data.path = folder / "text.txt";
  source.data.tokenizer = "char";
  run_training(source, quiet());
  const std::vector<std::string> keys = {"run_dir=" + (folder / "run"),
                                         "model.init_from=" + source.run_dir,
                                         "data.path=" + source.data.path,
                                         "train.steps=6",
                                         "train.batch_size=2",
                                         "train.eval_every=0",
                                         "train.threads=1"};
  const RunConfig config = read_run_config({.file = "", .overrides = keys});
  EXPECT_NE(config.data.tokenizer.find("tokenizer.json"), std::string::npos);
  EXPECT_EQ(config.data.seq_len, 32);
  run_until(config, 3);
  remove_all(real_fs(), source.run_dir);
  EXPECT_THROW(read_run_config({.file = "", .overrides = keys}), Error);
  RunOptions resume = quiet();
  resume.resume = true;
  for (const std::string& file : {std::string(), config.run_dir + "/config.yaml"}) {
    const RunConfig again =
        read_run_config({.file = file,
                         .overrides = file.empty() ? keys : std::vector<std::string>{},
                         .resume = true});
    EXPECT_EQ(run_training(again, resume).steps, 6);
  }
}

TEST(TrainingRun, InitFromExpertsWithoutExpertsIsAConflict) {
  const TempFolder folder;
  RunConfig source = tiny(folder / "source");
  source.train.steps = 1;
  run_training(source, quiet());
  ASSERT_TRUE(source.model.has_moe);
  const auto error_with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> keys = {"run_dir=" + (folder / "run"),
                                     "model.init_from=" + source.run_dir};
    keys.insert(keys.end(), more.begin(), more.end());
    return error_of([&] { read_run_config({.file = "", .overrides = keys}); });
  };
  EXPECT_EQ(error_with({}), "");
  EXPECT_NE(error_with({"model.moe=null"}).find("has experts"), std::string::npos);
  EXPECT_EQ(error_with({"model.moe=null", "model.moe={}"}), "");
}

TEST(TrainingRun, AnotherTokenizerThanThatOfInitFromIsAWarning) {
  const TempFolder folder;
  write_file_atomic(real_fs(), folder / "text.txt", text_of(4000));
  const RunConfig source = tiny(folder / "source");
  run_training(source, quiet());
  const auto warnings_of = [&](const std::string& name, const std::string& tokenizer) {
    testing::internal::CaptureStderr();
    run_training(
        read_run_config(
            {.file = "",
             .overrides = {"run_dir=" + (folder / name), "model.init_from=" + source.run_dir,
                           "data.path=" + (folder / "text.txt"), "data.tokenizer=" + tokenizer,
                           "train.steps=1", "train.batch_size=1", "train.threads=1"}}),
        quiet());
    return testing::internal::GetCapturedStderr();
  };
  EXPECT_NE(warnings_of("char", "char").find("is not the tokenizer of"), std::string::npos);
  EXPECT_EQ(warnings_of("byte", "byte").find("warning"), std::string::npos);
}

// The steps of every "train/loss" in the event files of a folder, ascending.
std::vector<int64_t> logged_steps(const std::string& run_dir) {
  std::vector<int64_t> steps;
  for (const std::string& name : list_directory(run_dir)) {
    if (!starts_with(name, "events.")) continue;
    const std::string file = read_file(join_path(run_dir, name));
    for (size_t at = 0; at + 12 < file.size();) {
      uint64_t n = 0;
      std::memcpy(&n, file.data() + at, sizeof n);
      const std::string event = file.substr(at + 12, n);
      // wall_time is 9 bytes; steps below 128 are one byte behind the key.
      if (event.find("train/loss") != std::string::npos) steps.push_back(event.at(10));
      at += 12 + n + 4;
    }
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::vector<int64_t> up_to(int64_t n) {
  std::vector<int64_t> steps(size_t(n), 0);
  std::iota(steps.begin(), steps.end(), 1);
  return steps;
}

TEST(TrainingRun, EventsAreThereAtEachEvaluationAndCheckpointAndHoldEachStepOnceAfterACrash) {
  const TempFolder folder;
  const RunConfig config = tiny(folder / "run");  // checkpoints at 4, 8, 12; evaluations at 6, 12
  RunOptions options = quiet();
  int64_t steps = 0;
  options.stop_requested = [&] {
    if (++steps == 5) {
      EXPECT_EQ(logged_steps(config.run_dir), up_to(4));
    }
    if (steps == 8) throw Error("the power fails");
    return false;
  };
  options.after_eval = [&](const Trainer& trainer, const TransformerLM&, const Dataset&) {
    EXPECT_EQ(logged_steps(config.run_dir), up_to(trainer.steps_done()));
  };
  EXPECT_THROW(run_training(config, options), Error);
  EXPECT_EQ(newest_valid_checkpoint(config.run_dir).step, 4);
  run_until(config, 99, true);
  EXPECT_EQ(logged_steps(config.run_dir), up_to(12));
}

TEST(TrainingRun, ACheckpointHoldsTheAveragedWeightsThatWereEvaluated) {
  const TempFolder folder;
  RunConfig config = tiny(folder / "run");
  config.optim.ema = 0.9;
  const double val_loss = run_training(config, quiet()).evaluation->loss;
  const std::string checkpoint = config.run_dir + "/checkpoints/ckpt-000012";
  RunConfig plain = *read_saved_config(checkpoint);
  plain.optim.ema = 0;
  const Dataset data = open_dataset(plain.data, 1);
  TransformerLM model(plain.model);
  load_weights(model, checkpoint);
  EXPECT_EQ(Trainer(plain, data, model).evaluate()->loss, val_loss);
}

TEST(TrainingRun, AModelThatDoesNotFitIsRefusedBeforeAnythingIsAllocated) {
  const TempFolder folder;
  RunConfig config = tiny(folder / "run");
  config.model.d_model = 1 << 20;
  config.model.n_layers = 4000;
  config.model.moe.layers = "all";
  const std::string error = error_of([&] { run_training(config, quiet()); });
  EXPECT_NE(error.find("are available; lower model.n_layers"), std::string::npos) << error;
  EXPECT_FALSE(exists(config.run_dir));
}

TEST(TrainingRun, AClosedPipeEndsTheRunWithACheckpoint) {
  const TempFolder folder;
  const RunConfig config = tiny(folder / "run");
  RunOptions options = quiet();
  int64_t lines = 0;
  options.log_json = [&](const std::string& line) {
    EXPECT_TRUE(starts_with(line, "{\"step\": ")) << line;
    if (++lines == 3) throw Error("closed", ExitCode::io);
  };
  try {
    run_training(config, options);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.exit_code(), ExitCode::io);
  }
  EXPECT_EQ(newest_valid_checkpoint(config.run_dir).step, 3);
}

TEST(TrainingRun, ExpertsAreDrawnWithoutAnEvaluationToo) {
  const TempFolder folder;
  RunConfig config = tiny(folder / "run");
  config.train.eval_every = 0;
  run_training(config, quiet());
  EXPECT_NE(read_file(config.run_dir + "/experts.svg").find("last training step"),
            std::string::npos);
}

TEST(TrainingRun, AFinishedRunStillKnowsItsLossAndWhatEndedIt) {
  const TempFolder folder;
  RunConfig config = tiny(folder / "run");
  const RunResult first = run_training(config, quiet());
  RunOptions resume = quiet();
  resume.resume = true;
  RunResult again = run_training(config, resume);
  EXPECT_EQ(again.end, RunResult::End::already_finished);
  EXPECT_EQ(again.loss, first.loss);
  EXPECT_FALSE(again.out_of_time);
  config.train.steps = 1000;
  config.train.minutes = 1e-9;
  again = run_training(config, resume);
  EXPECT_EQ(again.end, RunResult::End::already_finished);
  EXPECT_TRUE(again.out_of_time);
}

TEST(Trainer, AStepThatIsStoppedHalfWayLeavesNoTrace) {
  const TempFolder folder;
  RunConfig config = tiny(folder / "run");
  config.train.grad_accum = 4;
  const Dataset data = open_dataset(config.data, 1);
  config.model.vocab_size = data.vocab_size;
  TransformerLM cut(config.model), whole(config.model);
  for (const TransformerLM* model : {&cut, &whole}) initialize(*model, 1);
  Trainer cut_trainer(config, data, cut), whole_trainer(config, data, whole);
  for (const int asked : {2, 5}) {  // while the tokens are counted, and between two micro-batches
    int n = 0;
    EXPECT_FALSE(cut_trainer.step(0, [&] { return ++n == asked; }));
    EXPECT_EQ(cut_trainer.steps_done(), 0);
    for (size_t i = 0; i < cut.parameters().size(); ++i)
      EXPECT_TRUE(same_bits(cut.parameters()[i].var.value(), whole.parameters()[i].var.value()));
  }
  EXPECT_EQ(cut_trainer.step().loss, whole_trainer.step().loss);
  for (size_t i = 0; i < cut.parameters().size(); ++i)
    EXPECT_TRUE(same_bits(cut.parameters()[i].var.value(), whole.parameters()[i].var.value()));
}

TEST(RunConfigFile, LayersAreWordsOrListsAndTheMergedFileReadsBack) {
  const TempFolder folder;
  const std::string path = folder / "c.yaml";
  write_file_atomic(real_fs(), path,
                    "model:\n  n_layers: 12\n  window_layers:\n  - 0\n  - 3\n  moe: {layers: "
                    "[2,5,8,11]}\n");
  const RunConfig config = read_run_config({.file = path, .overrides = {}});
  EXPECT_EQ(config.model.moe.layers, "[2,5,8,11]");
  EXPECT_EQ(config.model.window_layers, "[0,3]");
  const std::string yaml = to_yaml(config);
  EXPECT_NE(yaml.find("layers: [2, 5, 8, 11]\n"), std::string::npos) << yaml;
  EXPECT_NE(yaml.find("qk_norm: true\n"), std::string::npos) << yaml;
  write_file_atomic(real_fs(), path, yaml);
  EXPECT_EQ(to_yaml(read_run_config({.file = path, .overrides = {}})), yaml);
}

TEST(RunConfigFile, AMistakeInAFileIsAMistakeInUsage) {
  const TempFolder folder;
  for (const char* yaml :
       {"modle: 1", "model: {n_layers: x}", "model: [", "run_dir: a\nrun_dir: b"}) {
    write_file_atomic(real_fs(), folder / "c.yaml", yaml);
    try {
      read_run_config({.file = folder / "c.yaml", .overrides = {}});
      ADD_FAILURE() << yaml;
    } catch (const Error& e) {
      EXPECT_EQ(e.exit_code(), ExitCode::usage) << yaml;
    }
  }
}

TEST(Trainer, FourMicroBatchesEqualOneBatchBitForBitWithoutAuxiliaryLosses) {
  const TempFolder folder;
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
  const TempFolder folder;
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

// ---- fine-tuning on conversations ---------------------------------------------------------------

std::string conversations(int n) {
  std::string out;
  for (int i = 0; i < n; ++i)
    out += fmt::format(
        "{{\"messages\": [{{\"role\": \"user\", \"content\": \"say {0}\"}}, {{\"role\": "
        "\"assistant\", \"content\": \"{0}!\"}}]}}\n",
        i % 10);
  return out;
}

RunConfig chat_config(const TempFolder& folder, std::vector<std::string> more) {
  write_file_atomic(real_fs(), folder / "chats.jsonl", conversations(40));
  std::vector<std::string> overrides = {"run_dir=" + (folder / "run"),
                                        "stage=sft",
                                        "data.path=" + (folder / "chats.jsonl"),
                                        "model.n_layers=1",
                                        "model.d_model=16",
                                        "model.n_heads=2",
                                        "model.n_kv_heads=2",
                                        "model.head_dim=8",
                                        "model.d_ff=16",
                                        "model.max_seq_len=256",
                                        "model.moe.n_experts=4",
                                        "model.moe.d_ff=16",
                                        "data.seq_len=256",
                                        "train.batch_size=2",
                                        "train.steps=4",
                                        "train.eval_every=2",
                                        "train.threads=1",
                                        "optim.warmup_steps=0"};
  overrides.insert(overrides.end(), more.begin(), more.end());
  return read_run_config({.file = "", .overrides = overrides});
}

TEST(Mixture, AResumedRunEqualsTheUndisturbedOneBitForBit) {
  const TempFolder folder;
  write_file_atomic(real_fs(), folder / "a.txt", text_of(3000));
  std::string records;
  for (int i = 0; i < 50; ++i)
    records += to_json_line(JsonObject{{"text", str("line ", i, ": ", text_of(60))}}) + "\n";
  write_file_atomic(real_fs(), folder / "b.jsonl", records);
  const auto config_in = [&](const std::string& name, int64_t threads) {
    RunConfig config = tiny(folder / name);
    config.data.mixture = {{folder / "a.txt", 2, 0}, {folder / "b.jsonl", 1.5, 0.2}};
    config.train.threads = threads;
    return config;
  };
  run_training(config_in("whole", 1), quiet());
  const auto whole = outcome(folder / "whole", 12);
  for (const int64_t stop_after : {1, 5, 8, 11}) {
    const RunConfig config = config_in(str("stopped", stop_after), 2);
    EXPECT_EQ(run_until(config, stop_after).end, RunResult::End::interrupted);
    RunOptions resume = quiet();
    resume.resume = true;
    run_training(config, resume);
    EXPECT_EQ(outcome(config.run_dir, 12), whole) << stop_after;
  }
}

TEST(Mixture, ARunEndsWhereEverySourceWasSeenAsOftenAsItMay) {
  const TempFolder folder;
  write_file_atomic(real_fs(), folder / "a.txt", text_of(1600));
  RunConfig config = tiny(folder / "run");
  config.data.val_fraction = 0;
  config.data.mixture = {{folder / "a.txt", 1, 0.5}, {folder / "a.txt", 3, 0.25}};
  config.train.steps = 1000;
  const RunData data = open_run_data(config, "");
  const int64_t windows = data.data.mixture->n_places();
  EXPECT_EQ(run_training(config, quiet()).steps, windows / 3);
  const auto shares = source_shares(config, data.data);
  ASSERT_EQ(shares.size(), 2u);
  EXPECT_NEAR(shares[0].share + shares[1].share, 1, 1e-12);
  EXPECT_LE(shares[1].epochs, 0.27);
  config.train.batch_size = 100;
  EXPECT_NE(error_of([&] { steps_of_run(config, data.data); }).find("raise their epochs"),
            std::string::npos);
}

TEST(Mixture, PathAndMixtureTogetherAreRefused) {
  EXPECT_NE(error_of([] {
              read_run_config({.file = "", .overrides = {"data.path=a", "data.mixture=[b, c]"}});
            }).find("both set"),
            std::string::npos);
}

TEST(FineTuning, LearnsTheAssistantsTokensAlone) {
  const TempFolder folder;
  RunConfig config = chat_config(folder, {});
  const auto tokenizer = open_tokenizer("byte", "");
  const ChatEncoder encoder(find_chat_template("chatml"), std::shared_ptr(tokenizer));
  const Dataset data = open_chat_dataset(config.data, encoder);
  int64_t n = 0;
  for (const auto* part : {&data.train, &data.validation})
    for (int64_t w = 0; w < (*part)->count(); ++w) n += (*part)->n_targets(w);
  EXPECT_EQ(n, 40 * int64_t(std::string("0!<|im_end|>").size()));
  config.data.loss_on = "all";
  const Dataset all = open_chat_dataset(config.data, encoder);
  EXPECT_EQ(all.train->n_targets(0), [&] {
    Batch batch = empty_batch();
    all.train->append(0, 0, batch);
    return batch.n_tokens();
  }());
}

TEST(FineTuning, PackedOrNotTheLossIsThatOfTheConversations) {
  const TempFolder folder;
  std::vector<std::string> outcomes;
  std::vector<double> losses;
  for (const std::string packing : {"none", "best_fit"}) {
    // One step over everything, so that both see the same conversations.
    RunConfig config = chat_config(folder, {"data.packing=" + packing, "data.val_fraction=0",
                                            "train.eval_every=0", "train.steps=1"});
    const ChatEncoder encoder(find_chat_template("chatml"),
                              std::shared_ptr<const Tokenizer>(make_byte_tokenizer()));
    Dataset data = open_chat_dataset(config.data, encoder);
    config.train.batch_size = data.train->count();
    config.model.vocab_size = data.vocab_size;
    config.model.moe.aux_loss_weight = 0;
    config.data.order = "sequential";
    TransformerLM model(config.model);
    initialize(model, 1);
    Trainer trainer(config, data, model);
    losses.push_back(trainer.step().lm_loss);
  }
  EXPECT_NEAR(losses[0], losses[1], 1e-9);  // sums of the same float64 terms in another order
}

TEST(FineTuning, APackedConversationHasTheLogitsThatItHasAlone) {
  const TempFolder folder;
  RunConfig config = chat_config(folder, {"data.val_fraction=0"});
  const ChatEncoder encoder(find_chat_template("chatml"),
                            std::shared_ptr<const Tokenizer>(make_byte_tokenizer()));
  const Dataset data = open_chat_dataset(config.data, encoder);
  config.model.vocab_size = data.vocab_size;
  TransformerLM model(config.model);
  initialize(model, 1);
  Batch batch = empty_batch();
  data.train->append(0, 0, batch);
  ASSERT_GE(batch.n_sequences(), 2);
  const Tensor packed = model.logits(model(make_context(batch)).hidden_TD).value();
  for (int64_t b = 0; b < batch.n_sequences(); ++b) {
    const int32_t begin = batch.sequence_starts_B1[size_t(b)],
                  end = batch.sequence_starts_B1[size_t(b) + 1];
    const std::vector<int32_t> ids(batch.token_ids_T.begin() + begin,
                                   batch.token_ids_T.begin() + end);
    const Tensor alone = model.logits(model(pack_sequences({ids})).hidden_TD).value();
    EXPECT_EQ(std::memcmp(alone.raw(), packed.rows(begin, end).raw(), size_t(alone.stored_bytes())),
              0);
  }
}

TEST(FineTuning, ARunWritesItsTemplateAndTheEndOfATurnAndGoesOnBitForBit) {
  const TempFolder folder;
  const RunConfig whole = chat_config(folder, {"model.neftune_alpha=5"});
  run_training(whole, quiet());
  const std::string checkpoint = folder / "run/checkpoints/ckpt-000004";
  EXPECT_EQ(read_file(checkpoint + "/chat_template.jinja"), *find_built_in_template("chatml"));
  RunConfig halves = chat_config(folder, {"model.neftune_alpha=5", "train.checkpoint_every=2",
                                          "run_dir=" + (folder / "halves"), "train.steps=4"});
  RunOptions stop = quiet();
  int n = 0;
  stop.stop_requested = [&] { return ++n >= 2; };
  run_training(halves, stop);
  RunOptions resume = quiet();
  resume.resume = true;
  run_training(halves, resume);
  EXPECT_EQ(read_file(checkpoint + "/model.safetensors"),
            read_file(folder / "halves/checkpoints/ckpt-000004/model.safetensors"));
}

TEST(FineTuning, EpochsSetTheStepsAndAnEarlyStopEndsTheRun) {
  const TempFolder folder;
  RunConfig config = chat_config(folder, {"train.epochs=2", "data.packing=none"});
  EXPECT_EQ(run_training(config, quiet()).steps, 36);  // 36 of 40 conversations, by two, twice
  RunConfig worse = chat_config(folder, {"run_dir=" + (folder / "early"), "train.steps=50",
                                         "train.early_stop=2", "optim.lr=0", "optim.min_lr=0"});
  const RunResult stopped = run_training(worse, quiet());
  EXPECT_EQ(stopped.steps, 6);  // the first evaluation is the best, two are no better
  EXPECT_FALSE(stopped.out_of_time);
  RunOptions resume = quiet();
  resume.resume = true;
  EXPECT_EQ(run_training(worse, resume).end, RunResult::End::already_finished);
}

TEST(FineTuning, WhatCannotBeLearnedFromIsRefused) {
  const TempFolder folder;
  RunConfig config = chat_config(folder, {});
  const auto refuse = [&](const std::string& content, const std::string& what) {
    write_file_atomic(real_fs(), folder / "chats.jsonl", content);
    EXPECT_NE(error_of([&] { run_training(config, quiet()); }).find(what), std::string::npos)
        << error_of([&] { run_training(config, quiet()); });
    EXPECT_FALSE(exists(folder / "run"));
  };
  refuse(R"({"messages": [{"role": "user", "content": "no answer"}]})", "no turn of the assistant");
  refuse(conversations(1), "cannot be split");
  refuse("{\"messages\": 7}\n", "line 1");
  EXPECT_NE(error_of([&] {
              chat_config(folder, {"data.path=demo"});
            }).find("stage=sft needs conversations"),
            std::string::npos);
}

// ---- adapters -----------------------------------------------------------------------------------

class AdapterRuns : public ::testing::TestWithParam<const char*> {};

TEST_P(AdapterRuns, LeaveTheModelAloneGoOnBitForBitAndAreReadAsModels) {
  const TempFolder folder;
  const bool mixture = std::string(GetParam()).find("moe_lora") != std::string::npos;
  std::vector<std::string> base_keys = {"run_dir=" + (folder / "base")};
  if (mixture) base_keys.emplace_back("model.moe=null");
  RunConfig base = chat_config(folder, base_keys);
  run_training(base, quiet());
  const auto adapter = [&](const std::string& name, const std::vector<std::string>& more) {
    std::vector<std::string> keys = {
        "stage=sft",
        "data.path=" + (folder / "chats.jsonl"),
        "model.init_from=" + (folder / "base"),
        "run_dir=" + (folder / name),
        mixture ? "lora.targets=attention" : "lora.targets=attention,experts",
        "lora.rank=2",
        GetParam(),
        "lora.dropout=0.1",
        "optim.lr=0.01",
        "optim.warmup_steps=0",
        "train.steps=4",
        "train.batch_size=2",
        "train.threads=1",
        "train.eval_every=2"};
    keys.insert(keys.end(), more.begin(), more.end());
    return read_run_config({.file = "", .overrides = keys});
  };
  const RunConfig whole = adapter("whole", {});
  run_training(whole, quiet());
  const std::string last = "checkpoints/ckpt-000004/";
  EXPECT_FALSE(exists(folder / "whole/" + last + "model.safetensors"));
  const RunConfig halves = adapter("halves", {"train.checkpoint_every=2"});
  RunOptions stop = quiet();
  int n = 0;
  stop.stop_requested = [&] { return ++n >= 2; };
  run_training(halves, stop);
  RunOptions resume = quiet();
  resume.resume = true;
  run_training(halves, resume);
  for (const char* name : {"adapter_model.safetensors", "optimizer.safetensors"})
    EXPECT_EQ(read_file(folder / "whole/" + last + name),
              read_file(folder / "halves/" + last + name));
  const std::vector<int32_t> ids = {1, 2, 3, 4, 5, 6};
  const auto logits = [&](const std::string& name) {
    const ModelFolder read = load_model_folder(folder / name);
    return read.model->logits((*read.model)(pack_sequences({ids})).hidden_TD).value();
  };
  EXPECT_FALSE(same_bits(logits("base"), logits("whole")));
  EXPECT_TRUE(same_bits(logits("halves"), logits("whole")));
  EXPECT_NE(error_of([&] {
              adapter("third", {"model.init_from=" + (folder / "whole")});
            }).find("moe merge"),
            std::string::npos)
      << error_of([&] { adapter("third", {"model.init_from=" + (folder / "whole")}); });
}

INSTANTIATE_TEST_SUITE_P(Kinds, AdapterRuns,
                         ::testing::Values("lora.use_dora=false", "lora.use_dora=true",
                                           "lora.moe_lora.n_experts=3"),
                         [](const auto& info) {
                           return info.index == 0 ? "lora" : info.index == 1 ? "dora" : "moe_lora";
                         });

TEST(AdapterRun, TheReportNamesEveryTargetAndItsGradient) {
  const TempFolder folder;
  run_training(chat_config(folder, {"run_dir=" + (folder / "base")}), quiet());
  const RunConfig config =
      read_run_config({.file = "",
                       .overrides = {"stage=sft", "data.path=" + (folder / "chats.jsonl"),
                                     "train.batch_size=4", "model.init_from=" + (folder / "base"),
                                     "lora.targets=attention,experts,router", "lora.rank=2"}});
  const std::vector<TargetGradient> targets = report_adapter(config);
  EXPECT_EQ(targets.size(), 4u + 4 * 3 + 1);
  for (const TargetGradient& t : targets) {
    EXPECT_EQ(t.target.rank, 2) << t.target.name;
    EXPECT_GT(t.grad_norm, 0) << t.target.name;
  }
  EXPECT_EQ(targets[0].target.parameters, 2 * (16 + 16));
}

// ---- guards -------------------------------------------------------------------------------------

// Sets a number of the first weight, and puts it back.
class Poison {
 public:
  void find(const TransformerLM& model) { weight_ = model.parameters()[0].var.value(); }
  void set() {
    if (!weight_ || is_set_) return;
    kept_ = weight_.data<float>()[0];
    weight_.data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
    is_set_ = true;
  }
  void clear() {
    if (is_set_) weight_.data<float>()[0] = kept_;
    is_set_ = false;
  }

 private:
  Tensor weight_;
  float kept_ = 0;
  bool is_set_ = false;
};

TEST(Guard, AStepThatIsNotFiniteIsSkippedWithTheWeightsUnchanged) {
  const TempFolder folder;
  RunConfig config = tiny(folder / "run");
  config.train.grad_accum = 2;
  config.train.max_skips = 3;
  const Dataset data = open_dataset(config.data, 1);
  config.model.vocab_size = data.vocab_size;
  TransformerLM model(config.model);
  initialize(model, 1);
  Trainer trainer(config, data, model);
  trainer.step();
  std::vector<Tensor> before;
  for (const Parameter& p : model.parameters()) before.push_back(p.var.value().clone());
  Poison poison;
  poison.find(model);
  const std::optional<StepResult> bad = trainer.step(0, [&] {
    poison.set();
    return false;
  });
  poison.clear();
  EXPECT_TRUE(bad->skipped);
  EXPECT_EQ(trainer.steps_done(), 2);
  EXPECT_EQ(trainer.guard().n_skipped(), 1);
  const std::vector<Parameter> after = model.parameters();
  for (size_t i = 0; i < after.size(); ++i)
    EXPECT_TRUE(same_bits(before[i], after[i].var.value())) << after[i].name;
  EXPECT_FALSE(trainer.step().skipped);
}

TEST(Guard, ASpikeIsAGradientFarAboveTheLatestOnes) {
  StepGuard guard(2, 6);
  for (int i = 0; i < 30; ++i) EXPECT_FALSE(guard.skips(1, 1 + 0.1 * (i % 3)));
  EXPECT_FALSE(guard.skips(1, 1.4));  // mean 1.1, deviation 0.08: the bar is at 1.6
  EXPECT_TRUE(guard.skips(1, 1.8));
  EXPECT_FALSE(guard.gives_up());
  EXPECT_TRUE(guard.skips(NAN, 1));
  EXPECT_TRUE(guard.gives_up());
  StepGuard again(2, 6);
  again.load_state(guard.state(), "test");
  EXPECT_TRUE(again.gives_up());
  EXPECT_TRUE(again.skips(1, 1.8));
  StepGuard off(0, 6);
  EXPECT_FALSE(off.skips(NAN, NAN));
}

TEST(Guard, AfterManyInARowTheRunGoesBackAndOnWithOtherData) {
  const TempFolder folder;
  RunConfig config = tiny(folder / "run");
  config.train.grad_accum = 2;
  config.train.max_skips = 2;
  config.train.eval_every = 2;
  Poison poison;
  RunOptions options = quiet();
  options.after_eval = [&](const Trainer&, const TransformerLM& model, const Dataset&) {
    poison.find(model);
  };
  // The checkpoint of step 4 is good; in the steps behind it a weight is no number.
  int64_t n = 0;
  options.stop_requested = [&] {
    ++n;
    if (n == 14 || n == 17) poison.set();
    return false;
  };
  std::vector<std::string> lines;
  options.log_json = [&](const std::string& line) {
    lines.push_back(line);
    if (line.find("skipped") != std::string::npos) poison.clear();
  };
  const RunResult result = run_training(config, options);
  EXPECT_EQ(result.steps, 12);
  const std::string state = read_file(folder / "run/checkpoints/ckpt-000012/trainer_state.json");
  EXPECT_EQ(state.find("\"data_jump\": 0,"), std::string::npos) << state;
  EXPECT_NE(state.find("\"skipped\": 2"), std::string::npos) << state;
}

}  // namespace
}  // namespace moe
