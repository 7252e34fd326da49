// SPDX-License-Identifier: MIT
// Lines for people on stderr.
#include "moe/base/log.h"

#include <atomic>
#include <string_view>

#include "moe/base/stderr_line.h"
#include "moe/base/str.h"

namespace moe {
namespace {

std::atomic<bool> quiet = false;

std::string one_line(std::string_view line) {
  constexpr size_t kMaxChars = 4000;  // a foreign name may be megabytes long
  return printable(line, kMaxChars);
}

}  // namespace

void log_info(const std::string& line) {
  if (!quiet) write_stderr_line(one_line(line));
}

void log_result(const std::string& line) { write_stderr_line(one_line(line)); }

void log_warning(const std::string& line) { write_stderr_line("warning: " + one_line(line)); }

void set_quiet(bool value) { quiet = value; }

bool is_quiet() { return quiet; }

}  // namespace moe
