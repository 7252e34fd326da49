// SPDX-License-Identifier: MIT
#include "apps/moe/command.h"

#include <charconv>
#include <csignal>
#include <cstdio>
#include <unistd.h>

#include "moe/base/error.h"
#include "moe/base/parallel.h"
#include "moe/kernels/kernels.h"

namespace moe {
namespace {

volatile std::sig_atomic_t interrupt_count = 0;

void on_signal(int) {
  if (interrupt_count) _exit(int(ExitCode::interrupted));
  interrupt_count = 1;
}

}  // namespace

void MachineOptions::add(CLI::App& app) {
  app.add_option("--threads", threads, "threads; 0: all CPUs (no result changes with it)")
      ->check(CLI::Range(0, 1024));
  app.add_option("--isa", isa,
                 "kernels to use: avx2, avx512, neon, ref; default: the best of this machine");
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

void catch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() { return interrupt_count != 0; }

void print_line(const std::string& text) {
  if (std::fputs((text + "\n").c_str(), stdout) < 0 || std::fflush(stdout) != 0)
    throw Error("cannot write to standard output; it is closed or full", ExitCode::io);
}

void print_json(const JsonObject& object) { print_line(to_json_line(object)); }

}  // namespace moe
