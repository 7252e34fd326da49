// SPDX-License-Identifier: MIT
#include <cerrno>
#include <fmt/format.h>
#include <memory>
#include <spawn.h>
#include <sys/wait.h>

#include "moe/base/clock.h"
#include "moe/base/error.h"
#include "moe/base/log.h"
#include "moe/report/table.h"
#include "moe/study/pipeline.h"

#include "apps/moe/command.h"

extern char** environ;

namespace moe {
namespace {

/// This program with other arguments; its exit code, 128 + the signal that ended it.
int run_self(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {"moe"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t child = 0;
  const int error = posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, argv.data(), environ);
  MOE_CHECK(error == 0, "[pipeline] cannot start a stage: ", std::strerror(error));
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    MOE_CHECK(errno == EINTR, "[pipeline] cannot wait for a stage: ", std::strerror(errno));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string command_line(const std::vector<std::string>& command) {
  std::string out = "moe";
  for (const std::string& word : command)
    out += word.find(' ') == std::string::npos ? " " + word : " '" + word + "'";
  return out;
}

}  // namespace

RunCommand add_pipeline(CLI::App& app) {
  auto arguments = std::make_shared<std::vector<std::string>>();
  app.require_subcommand(1);
  CLI::App* run = app.add_subcommand("run", "Run the stages that are not done yet");
  CLI::App* show = app.add_subcommand("show", "The commands of each stage");
  for (CLI::App* sub : {run, show})
    sub->add_option("arguments", *arguments,
                    "FILE.yaml, and changes: run_dir=DIR, a key of set, STAGE.KEY=VALUE")
        ->required();
  return [=] {
    std::vector<std::string> files, keys;
    split_arguments(*arguments, files, keys);
    if (files.size() != 1) throw Error("give one pipeline file", ExitCode::usage);
    const Pipeline pipeline = read_pipeline(files[0], keys);
    if (show->parsed()) {
      for (const PipelineStage& stage : pipeline.stages) {
        print_line(stage.name + (stage.about.empty() ? "" : ": " + stage.about));
        for (const auto& command : stage.commands) print_line("  " + command_line(command));
      }
      return 0;
    }
    // Ctrl-C goes to the stage too, which ends in good order; then this ends.
    catch_interrupts();
    Clock& clock = real_clock();
    const double start = clock.monotonic_seconds();
    double stage_start = start;
    std::vector<std::pair<std::string, double>> times;
    std::string current;
    const auto end_stage = [&] {
      if (!current.empty()) times.emplace_back(current, clock.monotonic_seconds() - stage_start);
      current.clear();
    };
    const PipelineRun result = run_pipeline(
        pipeline, real_fs(), run_self, [&](const PipelineStage& stage, size_t i, bool skipped) {
          end_stage();
          log_result(str("[", i + 1, "/", pipeline.stages.size(), "] ", stage.name,
                         skipped               ? ": done before"
                         : stage.about.empty() ? ""
                                               : ": " + stage.about));
          if (skipped) return;
          current = stage.name;
          stage_start = clock.monotonic_seconds();
        });
    end_stage();
    if (!result.stopped_in.empty()) {
      const bool stopped = interrupted() || result.exit_code == int(ExitCode::interrupted);
      throw Error(str("the stage ", result.stopped_in, stopped ? " was interrupted" : " failed",
                      "; the same command goes on there"),
                  stopped ? ExitCode::interrupted : ExitCode::failure);
    }
    Table table({"stage", "time"});
    for (const auto& [name, seconds] : times) table.row({name, human_seconds(seconds)});
    table.row({"all", human_seconds(clock.monotonic_seconds() - start)});
    print_line(trim(table.text()));
    return 0;
  };
}

}  // namespace moe
