// SPDX-License-Identifier: MIT
#include "moe/study/pipeline.h"

#include <gtest/gtest.h>

#include "tests/base/temp_folder.h"

namespace moe {
namespace {

Pipeline read(const TempFolder& folder, const std::string& text,
              const std::vector<std::string>& overrides = {}) {
  write_file_atomic(real_fs(), folder / "p.yaml", text);
  return read_pipeline(folder / "p.yaml", overrides);
}

const char* const kThree = R"(run_dir: RUN
set: {name: Ada Lovelace}
stages:
  - {name: one, run: "data identity --name {name}"}
  - name: two
    train: {model: {d_model: 8, moe: {n_experts: 2}}, data: {path: "{run_dir}/x"}}
  - {name: three, run: [generate a, generate b]}
)";

std::string with_run_dir(const TempFolder& folder) {
  std::string text = kThree;
  text.replace(text.find("RUN"), 3, folder / "run");
  return text;
}

TEST(Pipeline, IsReadWithItsValuesAndChanges) {
  const TempFolder folder;
  const Pipeline p =
      read(folder, kThree, {"run_dir=r", "two.model.d_model=16", "name=Grace Hopper"});
  ASSERT_EQ(p.stages.size(), 3u);
  EXPECT_EQ(p.stages[0].commands[0],
            (std::vector<std::string>{"data", "identity", "--name", "Grace Hopper"}));
  EXPECT_EQ(p.stages[1].commands[0],
            (std::vector<std::string>{"train", "model.d_model=8", "model.moe.n_experts=2",
                                      "data.path=r/x", "run_dir=r/two", "model.d_model=16"}));
  EXPECT_EQ(p.stages[2].commands.size(), 2u);
}

TEST(Pipeline, WhatIsDoneIsNotDoneAgainAndAChangeRunsItAndWhatFollows) {
  const TempFolder folder;
  const Pipeline p = read(folder, with_run_dir(folder));
  std::vector<std::string> ran;
  int fail_at = 2;
  const auto execute = [&](const std::vector<std::string>& command) {
    if (int(ran.size()) == fail_at) return 7;
    ran.push_back(command[0]);
    return 0;
  };
  const auto quiet = [](const PipelineStage&, size_t, bool) {};
  PipelineRun result = run_pipeline(p, real_fs(), execute, quiet);
  EXPECT_EQ(result.stopped_in, "three");
  EXPECT_EQ(result.exit_code, 7);
  fail_at = -1;
  ran.clear();
  result = run_pipeline(p, real_fs(), execute, quiet);
  EXPECT_EQ(result.skipped, (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(ran, (std::vector<std::string>{"generate", "generate"}));
  ran.clear();
  EXPECT_EQ(run_pipeline(p, real_fs(), execute, quiet).skipped.size(), 3u);
  const Pipeline changed = read(folder, with_run_dir(folder), {"two.model.d_model=16"});
  result = run_pipeline(changed, real_fs(), execute, quiet);
  EXPECT_EQ(result.skipped, (std::vector<std::string>{"one"}));
  EXPECT_EQ(result.done, (std::vector<std::string>{"two", "three"}));
}

TEST(Pipeline, ATrainingThatHasBegunIsResumed) {
  const TempFolder folder;
  const Pipeline p = read(folder, with_run_dir(folder));
  make_directories(real_fs(), folder / "run/two/checkpoints");
  std::vector<std::string> last;
  run_pipeline(
      p, real_fs(),
      [&](const std::vector<std::string>& command) {
        if (command[0] == "train") last = command;
        return 0;
      },
      [](const PipelineStage&, size_t, bool) {});
  EXPECT_EQ(last.back(), "--resume");
}

TEST(Pipeline, WrongFilesAreRefusedWithTheirLine) {
  const TempFolder folder;
  const auto refused = [&](const std::string& text, const std::vector<std::string>& keys = {}) {
    return error_of([&] { read(folder, text, keys); });
  };
  const auto expect = [&](const std::string& message, const std::string& part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  };
  expect(refused("stages: 3"), "must be a list");
  expect(refused("stage: []\n"), "did you mean stages?");
  expect(refused("stages:\n  - {run: x}\n"), "no name");
  expect(refused("stages:\n  - {name: a}\n"), "either train or run");
  expect(refused("stages:\n  - {name: a, run: 'x {what}'}\n"), ":2: {what} is neither");
  expect(refused("stages:\n  - {name: a, run: pipeline run x}\n"), "does not run pipelines");
  expect(refused("stages:\n  - {name: a, run: x}\n  - {name: a, run: y}\n"), "two stages");
  expect(refused("stages:\n  - {name: a, run: 'x \"y'}\n"), "without its end");
  expect(refused(kThree, {"nam=x"}), "did you mean name?");
  expect(refused(kThree, {"one.x=1"}), "no train stage");
}

TEST(Pipeline, WordsAreCutAsAShellDoes) {
  EXPECT_EQ(split_words("a  'b c' d\"e f\" ''"),
            (std::vector<std::string>{"a", "b c", "de f", ""}));
}

}  // namespace
}  // namespace moe
