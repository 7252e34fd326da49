// SPDX-License-Identifier: MIT
// A whole road in one file: stages of commands of this program, each done once. What is done stands
// in pipeline.json of the run folder, so the same command goes on where it was stopped.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moe/base/fs.h"

namespace moe {

struct PipelineStage {
  std::string name, about;
  std::vector<std::vector<std::string>> commands;  // arguments of the program
};
struct Pipeline {
  std::string run_dir;
  std::vector<PipelineStage> stages;
};

/// A file of the form
///   run_dir: runs/x
///   set: {name: Mocha}            # {name} and {run_dir} in what follows
///   stages:
///     - name: pretrain
///       about: what a person sees
///       train: {model: {...}, data: {...}}   # moe train, in {run_dir}/pretrain, resumed by itself
///     - name: exam
///       run: [exam {run_dir}/pretrain --data x.jsonl, ...]  # commands, words as a shell cuts them
/// overrides: run_dir=..., a key of set, or STAGE.KEY=VALUE for a key of a train stage. Throws
/// Error (usage) with the file's line.
Pipeline read_pipeline(const std::string& path, const std::vector<std::string>& overrides);

struct PipelineRun {
  std::vector<std::string> done, skipped;
  std::string stopped_in;  // the stage that failed or was interrupted; empty: none
  int exit_code = 0;
};
/// Runs the stages that are not done, or whose commands or whose predecessors changed. execute runs
/// one command and returns its exit code; begin is told of each stage.
PipelineRun run_pipeline(
    const Pipeline& pipeline, Fs& fs,
    const std::function<int(const std::vector<std::string>&)>& execute,
    const std::function<void(const PipelineStage&, size_t index, bool skipped)>& begin);

/// Words of a command: blanks part them, "..." and '...' hold them together.
std::vector<std::string> split_words(const std::string& line);

}  // namespace moe
