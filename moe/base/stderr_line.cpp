// SPDX-License-Identifier: MIT
// The one writer of stderr.
#include "moe/base/stderr_line.h"

#include <cstdio>
#include <mutex>
#include <string>

#include "moe/base/str.h"

namespace moe {
namespace {

constexpr std::string_view kClearLine = "\r\x1b[K";

struct State {
  std::mutex mutex;
  bool open = false;
  std::string text;
};

State& state() {
  static State state;
  return state;
}

/// One fwrite, so that lines of several processes do not interleave.
void put(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

void write_stderr_line(std::string_view text) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  put(s.open ? str(kClearLine, text, '\n', s.text) : str(text, '\n'));
}

void redraw_stderr_line(std::string_view text) {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.open = true;
  s.text = text;
  put(str('\r', text, "\x1b[K"));
}

void end_stderr_line() {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  if (!s.open) return;
  s.open = false;
  put("\n");
}

}  // namespace moe
