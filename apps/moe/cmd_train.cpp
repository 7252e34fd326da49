// SPDX-License-Identifier: MIT
#include <fmt/format.h>
#include <memory>

#include "moe/base/error.h"
#include "moe/base/log.h"

#include "apps/moe/train_options.h"

namespace moe {

ConfigSource config_source(const std::vector<std::string>& arguments, bool resume) {
  ConfigSource source{.file = {}, .overrides = {}, .resume = resume};
  std::string path;
  for (const std::string& argument : arguments) {
    const size_t equals = argument.find('='), slash = argument.find('/');
    if (equals != std::string::npos && equals < slash) {
      source.overrides.push_back(argument);
      continue;
    }
    if (!path.empty())
      throw Error(str("two configurations are given, '", printable(path), "' and '",
                      printable(argument), "'; give one, and changes as key=value"),
                  ExitCode::usage);
    path = argument;
  }
  if (path.empty()) {
    if (resume) {
      // --resume alone, or with run_dir=..., continues that folder.
      std::string run_dir = RunConfig().run_dir;
      for (const std::string& o : source.overrides)
        if (starts_with(o, "run_dir=")) run_dir = o.substr(8);
      if (exists(join_path(run_dir, "config.yaml")))
        source.file = join_path(run_dir, "config.yaml");
    }
    return source;
  }
  if (!exists(path))
    throw Error(str("'", printable(path),
                    "' does not exist; give a YAML file, a run folder with --resume, or key=value"),
                ExitCode::usage);
  if (!is_directory(path)) {
    source.file = path;
    return source;
  }
  if (!exists(join_path(path, "config.yaml")))
    throw Error(str("'", printable(path),
                    "' is a folder without config.yaml; give a run folder or a YAML file"),
                ExitCode::usage);
  source.file = join_path(path, "config.yaml");
  source.overrides.insert(source.overrides.begin(),
                          "run_dir=" + path);  // a folder that was moved continues where it is
  return source;
}

int train_and_report(const RunConfig& config, RunOptions options, bool json, RunResult* result) {
  catch_interrupts();
  options.stop_requested = interrupted;
  const RunResult r = run_training(config, options);
  if (result) *result = r;
  if (json) {
    JsonObject o = {{"run_dir", config.run_dir},
                    {"steps", r.steps},
                    {"seconds", r.seconds},
                    {"checkpoint", r.checkpoint},
                    {"end", r.end == RunResult::End::finished      ? "finished"
                            : r.end == RunResult::End::interrupted ? "interrupted"
                                                                   : "already_finished"}};
    if (r.loss) o["loss"] = *r.loss;
    if (r.evaluation) o["val_loss"] = r.evaluation->loss;
    print_json(o);
  } else if (r.end == RunResult::End::already_finished) {
    log_result(str(config.run_dir, " is finished at step ", r.steps, "; raise ",
                   r.out_of_time ? "train.minutes" : "train.steps", " to go on"));
  } else if (!options.log_json) {
    std::string line = r.end == RunResult::End::interrupted
                           ? str("interrupted at step ", r.steps,
                                 "; continue with: moe train --resume ", config.run_dir)
                           : str("done: ", r.steps, " steps in ", human_seconds(r.seconds));
    if (r.evaluation) line += fmt::format(", validation loss {:.4f}", r.evaluation->loss);
    log_result(line);
    if (!r.checkpoint.empty())
      log_info(str("checkpoint ", r.checkpoint, "; plots ", join_path(config.run_dir, "loss.svg")));
  }
  return r.end == RunResult::End::interrupted ? int(ExitCode::interrupted) : 0;
}

RunCommand add_train(CLI::App& app) {
  struct Options {
    std::vector<std::string> arguments;
    bool resume = false, log_json = false, json = false, print_config = false;
    int threads = -1;
    int64_t seed = -1;
    std::string isa;
  };
  auto o = std::make_shared<Options>();
  app.add_option(
      "arguments", o->arguments,
      "CONFIG.yaml or RUN_DIR, and key=value changes (moe config schema lists the keys)");
  app.add_flag("--resume", o->resume,
               "continue the run in run_dir from its newest valid checkpoint");
  app.add_flag("--log-json", o->log_json,
               "each step's metrics as one JSON object a line on stdout");
  app.add_flag("--json", o->json, "the outcome as one JSON object on stdout");
  app.add_flag("--print-config", o->print_config, "print the merged configuration and stop");
  app.add_option("--threads", o->threads, "same as train.threads=N")->check(CLI::Range(0, 1024));
  add_seed_option(app, "--seed", o->seed, "same as train.seed=N");
  add_isa_option(app, o->isa);
  return [o] {
    ConfigSource source = config_source(o->arguments, o->resume);
    if (o->threads >= 0) source.overrides.push_back(str("train.threads=", o->threads));
    if (o->seed >= 0) source.overrides.push_back(str("train.seed=", o->seed));
    const RunConfig config = read_run_config(source);
    if (o->print_config) {
      print_line(trim(to_yaml(config)));
      return 0;
    }
    if (!o->isa.empty()) use_kernels(o->isa.c_str());
    RunOptions options;
    options.resume = o->resume;
    if (o->log_json) options.log_json = print_line;
    options.quiet = o->json;
    return train_and_report(config, options, o->json);
  };
}

}  // namespace moe
