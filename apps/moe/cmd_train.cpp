// SPDX-License-Identifier: MIT
#include <fmt/format.h>
#include <memory>

#include "moe/base/error.h"
#include "moe/base/log.h"
#include "moe/train/run_data.h"

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

namespace {

/// What a run would read, without a model.
int print_data(const RunConfig& config, bool json) {
  const RunData opened = open_run_data(config, "");
  const Dataset& data = opened.data;
  const int64_t steps = steps_of_run(config, data),
                windows = steps * config.train.batch_size * config.train.grad_accum;
  const std::vector<SourceShare> sources = source_shares(config, data);
  if (json) {
    JsonArray list;
    for (const SourceShare& s : sources)
      list.push_back(JsonObject{{"path", s.path},
                                {"share", s.share},
                                {"windows", s.windows},
                                {"validation_windows", s.validation_windows},
                                {"epochs", s.epochs},
                                {"most_epochs", s.most_epochs}});
    print_json({{"steps", steps},
                {"windows", windows},
                {"train_windows", data.train->count()},
                {"validation_windows", data.validation ? data.validation->count() : 0},
                {"train_tokens", data.n_train_tokens},
                {"vocab_size", data.vocab_size},
                {"sources", std::move(list)}});
    return 0;
  }
  std::string text;
  for (const SourceShare& s : sources) text += source_line(s) + "\n";
  const bool endless = data.n_train_tokens == 0;
  text += fmt::format(
      "{} steps read {} windows of {} tokens{}; validation {} windows", with_commas(steps),
      with_commas(windows), config.data.seq_len,
      endless ? std::string()
              : fmt::format(", {:.3g} epochs of {} windows ({} tokens)",
                            double(windows) / double(data.train->count()),
                            with_commas(data.train->count()), with_commas(data.n_train_tokens)),
      with_commas(data.validation ? data.validation->count() : 0));
  print_line(text);
  return 0;
}

}  // namespace

RunCommand add_train(CLI::App& app) {
  struct Options {
    std::vector<std::string> arguments;
    bool resume = false, log_json = false, json = false, print_config = false, dry_run = false;
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
  app.add_flag("--dry-run", o->dry_run,
               "open the data, print what the run would read and its steps, and stop");
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
    if (o->dry_run) return print_data(config, o->json);
    if (!o->isa.empty()) use_kernels(o->isa.c_str());
    RunOptions options;
    options.resume = o->resume;
    if (o->log_json) options.log_json = print_line;
    options.quiet = o->json;
    return train_and_report(config, options, o->json);
  };
}

}  // namespace moe
