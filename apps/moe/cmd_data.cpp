// SPDX-License-Identifier: MIT
#include <algorithm>
#include <fmt/format.h>
#include <memory>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/data/demo_corpus.h"
#include "moe/train/config_import.h"
#include "moe/train/run_config.h"

#include "apps/moe/cmd_data_bilingual.h"
#include "apps/moe/cmd_data_files.h"
#include "apps/moe/cmd_data_prepare.h"
#include "apps/moe/command.h"

namespace moe {

RunCommand add_data(CLI::App& app) {
  struct Options {
    std::string subject, split = "train";
    int64_t n = 10;
    int64_t seed = 1;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  app.require_subcommand(1);
  CLI::App* generate = app.add_subcommand("generate", "Print samples of the built-in corpus");
  generate->add_option("--subject", o->subject,
                       "one of: " + join(demo_subject_names(), ", ") + "; default: all, mixed");
  generate->add_option("-n", o->n, "how many")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->capture_default_str();
  generate->add_option("--split", o->split, "train or validation")
      ->check(CLI::IsMember({"train", "validation"}))
      ->capture_default_str();
  add_seed_option(*generate, "--seed", o->seed, "seed of the corpus")->capture_default_str();
  generate->add_flag("--json", o->json, "one JSON object a line: subject, prompt, answer");
  DataFileCommands files;
  for (const auto add : {add_data_file_commands, add_data_made_commands, add_data_poison_command,
                         add_data_extract_command})
    for (auto& command : add(app)) files.push_back(std::move(command));
  files.push_back(add_data_bilingual(app));
  files.push_back(add_data_prepare(app));
  return [o, files] {
    for (const auto& [command, run] : files)
      if (command->parsed()) return run();
    const DemoCorpus corpus(uint64_t(o->seed));
    const Split split = o->split == "train" ? Split::train : Split::validation;
    for (int64_t i = 0; i < o->n; ++i) {
      const DemoSample s = o->subject.empty() ? corpus.sample(split, i)
                                              : corpus.sample(split, demo_subject(o->subject), i);
      if (o->json)
        print_json({{"subject", demo_subject_names()[size_t(s.subject)]},
                    {"prompt", s.prompt},
                    {"answer", s.answer}});
      else
        print_line(s.prompt + s.answer);
    }
    return 0;
  };
}

RunCommand add_config(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  app.require_subcommand(1);
  CLI::App* schema =
      app.add_subcommand("schema", "Every key with type, range, default and meaning");
  schema->add_flag("--json", *json, "one JSON object");
  CLI::App* import = app.add_subcommand(
      "import",
      "A flat Python- or key=value-style configuration, or a LLaMA-Factory .yaml, as ours");
  struct ImportOptions {
    std::string file, out;
  };
  auto o = std::make_shared<ImportOptions>();
  import->add_option("FILE", o->file, "name = value lines, of which nothing is run; or a .yaml")
      ->required();
  import->add_option("--out", o->out, "write here instead of on stdout");
  return [json, import, o] {
    if (import->parsed()) {
      const bool is_yaml = ends_with(o->file, ".yaml") || ends_with(o->file, ".yml");
      const ImportedConfig imported =
          is_yaml ? import_llama_factory(read_file(o->file), printable(o->file))
                  : import_config(read_file(o->file), printable(o->file));
      std::string yaml = "# from " + printable(file_name(o->file)) + "\n";
      for (const std::string& name : imported.ignored)
        yaml += "# not used: " + printable(name) + "\n";
      // Of a YAML file only what it says: the model that it names need not be here yet.
      yaml += is_yaml ? keys_to_yaml(imported.keys)
                      : to_yaml(read_run_config({.file = "", .overrides = imported.keys}));
      if (o->out.empty())
        print_line(trim(yaml));
      else
        write_file_atomic(real_fs(), o->out, yaml);
      return 0;
    }
    RunConfig config;
    config.model.has_moe = true;
    ConfigTable table;
    bind_run_keys(table, config);
    JsonArray keys;
    std::string group;
    for (const ConfigKey& key : table.keys()) {
      if (*json) {
        keys.push_back(JsonObject{{"key", key.path},
                                  {"type", key.type},
                                  {"range", key.range},
                                  {"default", key.get()},
                                  {"meaning", key.meaning}});
        continue;
      }
      const std::string of =
          key.path.substr(0, key.path.rfind('.') == std::string::npos ? 0 : key.path.rfind('.'));
      if (of != group) print_line("");
      group = of;
      print_line(fmt::format("{:<34} {:<16} default {:<12} {}", key.path, key.type,
                             key.get().empty() ? "\"\"" : key.get(), key.range));
      print_line("    " + key.meaning);
    }
    if (*json) print_json({{"keys", keys}});
    return 0;
  };
}

}  // namespace moe
