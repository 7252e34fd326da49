// SPDX-License-Identifier: MIT
// A command of the program: it declares its options on a CLI11 subcommand and returns what runs
// when it was chosen.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "moe/base/json.h"

namespace moe {

/// Runs the command; returns the exit code. Errors are thrown and reported by main.
using RunCommand = std::function<int()>;

RunCommand add_train(CLI::App& app);
RunCommand add_demo(CLI::App& app);
RunCommand add_generate(CLI::App& app);
RunCommand add_chat(CLI::App& app);
RunCommand add_complete(CLI::App& app);
RunCommand add_exam(CLI::App& app);
RunCommand add_pipeline(CLI::App& app);
RunCommand add_eval(CLI::App& app);
RunCommand add_logits(CLI::App& app);
RunCommand add_inspect(CLI::App& app);
RunCommand add_verify(CLI::App& app);
RunCommand add_diff(CLI::App& app);
RunCommand add_tokenizer(CLI::App& app);
RunCommand add_template(CLI::App& app);
RunCommand add_data(CLI::App& app);
RunCommand add_bench(CLI::App& app);
RunCommand add_config(CLI::App& app);
RunCommand add_router(CLI::App& app);
RunCommand add_calc(CLI::App& app);
RunCommand add_upcycle(CLI::App& app);
RunCommand add_prune(CLI::App& app);
RunCommand add_lora(CLI::App& app);
RunCommand add_merge(CLI::App& app);
RunCommand add_merge_experts(CLI::App& app);
RunCommand add_densify(CLI::App& app);
RunCommand add_compare(CLI::App& app);
RunCommand add_sweep(CLI::App& app);
RunCommand add_lr_find(CLI::App& app);
RunCommand add_advise(CLI::App& app);
RunCommand add_doctor(CLI::App& app);
RunCommand add_experts(CLI::App& app);

/// --threads and --isa, which most commands take; apply() sets them.
struct MachineOptions {
  int threads = 0;
  std::string isa;
  void add(CLI::App& app);
  void apply() const;
};

struct ModelFolder;

/// --adapter and --use: low-rank adapters on the model of a command.
struct AdapterOptions {
  std::vector<std::string> adapters;  // "DIR" or "NAME=DIR"
  std::string use;
  void add(CLI::App& app);
  /// Loads all of them; the one named by --use, else the last one, is in use. Throws Error that
  /// names those there are.
  void apply(ModelFolder& folder) const;
};
/// The number of an adapter by its name (what stood before "=", else its folder); "none" is -1.
int adapter_by_name(const ModelFolder& folder, const std::string& name);

/// --isa, whose help names what this machine has.
void add_isa_option(CLI::App& app, std::string& isa);
/// A seed in [0, 2^62]; names as for CLI11, "--seed".
CLI::Option* add_seed_option(CLI::App& app, const std::string& names, int64_t& seed,
                             const std::string& meaning);

/// "1,2,3" as ids. Throws Error (usage) naming what is no id.
std::vector<int32_t> parse_ids(const std::string& text);

/// From now on Ctrl-C or SIGTERM ends the process at once, with one line and exit code 130: for
/// commands that leave nothing half done.
void exit_on_interrupt();
/// From now on the first Ctrl-C or SIGTERM only sets interrupted(); a second one ends the process
/// with 130.
void catch_interrupts();
bool interrupted();
/// interrupted() is false again: Ctrl-C stopped one answer, not the program. SIGTERM stays.
void forget_interrupt();
/// A closed pipe and a file size limit become errors of the write instead of killing the process.
void ignore_write_signals();

/// Prints a JSON object as one line on stdout.
void print_json(const JsonObject& object);
/// Prints text on stdout (and a newline); throws Error when stdout is closed or full.
void print_line(const std::string& text);

/// Arguments with "=" before any slash are key=value changes, the others files.
void split_arguments(const std::vector<std::string>& arguments, std::vector<std::string>& files,
                     std::vector<std::string>& keys);

}  // namespace moe
