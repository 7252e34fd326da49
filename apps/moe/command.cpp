// SPDX-License-Identifier: MIT
#include "apps/moe/command.h"

#include <charconv>
#include <csignal>
#include <cstdio>
#include <string_view>
#include <unistd.h>

#include "moe/base/error.h"
#include "moe/base/parallel.h"
#include "moe/families/model_folder.h"
#include "moe/kernels/kernels.h"

namespace moe {
namespace {

volatile std::sig_atomic_t interrupt_count = 0, was_terminated = 0;
volatile std::sig_atomic_t is_on_terminal = 0;  // where a progress line may be open

// Nothing but what a signal handler may call.
void say_and_exit(int) {
  constexpr std::string_view kLine = "\ninterrupted\n";
  const std::string_view line = is_on_terminal ? kLine : kLine.substr(1);
  [[maybe_unused]] const ssize_t n = write(2, line.data(), line.size());
  _exit(int(ExitCode::interrupted));
}

void count_or_exit(int signal) {
  if (interrupt_count) say_and_exit(signal);
  interrupt_count = 1;
  if (signal == SIGTERM) was_terminated = 1;
}

void handle_interrupts(void (*handler)(int)) {
  is_on_terminal = isatty(2);
  struct sigaction action = {};
  action.sa_handler = handler;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

void MachineOptions::add(CLI::App& app) {
  app.add_option("--threads", threads, "threads; 0: all CPUs (no result changes with it)")
      ->check(CLI::Range(0, 1024));
  add_isa_option(app, isa);
}

void AdapterOptions::add(CLI::App& app) {
  app.add_option("--adapter", adapters,
                 "folder of a low-rank adapter for the model, or NAME=DIR; may be given several "
                 "times")
      ->allow_extra_args(false);
  app.add_option("--use", use,
                 "the adapter in use: its name or folder, or none; default: the last");
}

int adapter_by_name(const ModelFolder& folder, const std::string& name) {
  if (name == "none") return -1;
  for (size_t i = 0; i < folder.adapters.size(); ++i)
    if (folder.adapters[i] == name) return int(i);
  throw Error(
      str("no adapter is called '", printable(name, 60), "'; there are: ",
          folder.adapters.empty() ? std::string("none") : "none, " + join(folder.adapters, ", ")),
      ExitCode::usage);
}

void AdapterOptions::apply(ModelFolder& folder) const {
  for (const std::string& adapter : adapters) {
    const size_t equals = adapter.find('='), slash = adapter.find('/');
    const bool named = equals != std::string::npos && equals < slash;
    folder.model->use_adapter(
        add_adapter_folder(folder, named ? adapter.substr(equals + 1) : adapter));
    if (named) folder.adapters.back() = adapter.substr(0, equals);
  }
  if (!use.empty()) folder.model->use_adapter(adapter_by_name(folder, use));
}

void add_isa_option(CLI::App& app, std::string& isa) {
  std::vector<std::string> names;
  for (const Kernels* table : cpu_kernels()) names.push_back(table->name);
  names.push_back(ref_kernels<float>().name);
  app.add_option("--isa", isa,
                 "kernels to use: " + join(names, ", ") + "; default: the best of this machine");
}

CLI::Option* add_seed_option(CLI::App& app, const std::string& names, int64_t& seed,
                             const std::string& meaning) {
  return app.add_option(names, seed, meaning)->check(CLI::Range(int64_t{0}, int64_t{1} << 62));
}

void MachineOptions::apply() const {
  set_threads(threads);
  if (!isa.empty()) use_kernels(isa.c_str());
}

std::vector<int32_t> parse_ids(const std::string& text) {
  std::vector<int32_t> ids;
  for (const std::string& part : split(text, ',')) {
    const std::string word = trim(part);
    int32_t id = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (word.empty() || error != std::errc() || end != word.data() + word.size() || id < 0)
      throw Error(str("--ids: '", printable(word, 30), "' is no token id; give them as 1,2,3"),
                  ExitCode::usage);
    ids.push_back(id);
  }
  return ids;
}

void exit_on_interrupt() { handle_interrupts(say_and_exit); }

void catch_interrupts() { handle_interrupts(count_or_exit); }

void ignore_write_signals() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

void forget_interrupt() {
  if (!was_terminated) interrupt_count = 0;
}
bool interrupted() { return interrupt_count != 0; }

void print_line(const std::string& text) {
  if (std::fputs((text + "\n").c_str(), stdout) < 0 || std::fflush(stdout) != 0)
    throw Error("cannot write to standard output; it is closed or full", ExitCode::io);
}

void print_json(const JsonObject& object) { print_line(to_json_line(object)); }

void split_arguments(const std::vector<std::string>& arguments, std::vector<std::string>& files,
                     std::vector<std::string>& keys) {
  for (const std::string& a : arguments) {
    const size_t equals = a.find('='), slash = a.find('/');
    (equals != std::string::npos && equals < slash ? keys : files).push_back(a);
  }
}

}  // namespace moe
