// SPDX-License-Identifier: MIT
// Progress of long work: one line that redraws on a terminal, plain lines now and then when piped.
#pragma once

#include <cstdint>
#include <string>

#include "moe/base/clock.h"

namespace moe {

/// True when stderr (fd 2) or stdout (fd 1) is a terminal that wants a redrawn line.
bool is_terminal(int fd);
/// True when colours may be written to fd: a terminal, NO_COLOR unset or empty, TERM not "dumb".
bool wants_color(int fd);
/// Columns of the terminal on fd, 80 when unknown.
int terminal_width(int fd);

class ProgressLine {
 public:
  /// automatic: silent when quiet (base/log.h), else a line on a terminal and plain when piped.
  enum class Style { automatic, line, plain, silent };
  /// Writes to fd 2. plain_every_seconds: at most one plain line in that time, always the first and
  /// the last.
  explicit ProgressLine(Style style = Style::automatic, double plain_every_seconds = 5,
                        Clock& clock = real_clock());
  ~ProgressLine();
  /// Shows text (one line; cut to the terminal's width). force: print even when too soon, as for a
  /// last step.
  void update(const std::string& text, bool force = false);
  /// Prints a whole line above the progress line.
  void note(const std::string& text);
  /// Ends the line; further updates start a new one.
  void finish();

 private:
  void show(const std::string& text);

  Style style_;
  double every_seconds_, last_seconds_ = -1e300;
  Clock& clock_;
  bool open_ = false;
  std::string waiting_;  // came too soon after the last line; finish() shows it
};

/// "[####------]" of the given width; "#" only in plain ASCII, so that it reads in every terminal.
std::string progress_bar(double fraction, int width);
/// Resident memory of this process in bytes, now and at its peak.
uint64_t resident_bytes();
uint64_t peak_resident_bytes();
/// Bytes that this process can still have: what the system has free without swapping, and what is
/// left of the limit on its address space (ulimit -v).
uint64_t available_bytes();

}  // namespace moe
