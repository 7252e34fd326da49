// SPDX-License-Identifier: MIT
// Progress lines, and what they say about memory.
#include "moe/base/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string_view>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "moe/base/fs.h"
#include "moe/base/log.h"
#include "moe/base/stderr_line.h"
#include "moe/base/str.h"

namespace moe {
namespace {

/// More often than an eye sees, less often than a fast loop would write.
constexpr double kRedrawSeconds = 0.05;

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// As much of printable UTF-8 text as fits in so many columns. Characters of three bytes and more
/// may be two columns wide (Chinese, emoji) and are counted as such.
std::string_view fit(std::string_view text, int columns) {
  size_t end = 0;
  while (end < text.size()) {
    const auto lead = static_cast<unsigned char>(text[end]);
    const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    columns -= length < 3 ? 1 : 2;
    if (columns < 0) break;
    end += length;
  }
  return text.substr(0, end);
}

}  // namespace

bool is_terminal(int fd) {
  const std::string_view term = environment("TERM");
  return ::isatty(fd) == 1 && term != "" && term != "dumb";
}

bool wants_color(int fd) { return is_terminal(fd) && environment("NO_COLOR").empty(); }

int terminal_width(int fd) {
  winsize size{};
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

ProgressLine::ProgressLine(Style style, double plain_every_seconds, Clock& clock)
    : style_(style), every_seconds_(plain_every_seconds), clock_(clock) {
  if (style_ == Style::automatic)
    style_ = is_quiet() ? Style::silent : is_terminal(2) ? Style::line : Style::plain;
  if (style_ == Style::line) every_seconds_ = kRedrawSeconds;
}

ProgressLine::~ProgressLine() { finish(); }

void ProgressLine::update(const std::string& text, bool force) {
  if (style_ == Style::silent) return;
  const double now_seconds = clock_.monotonic_seconds();
  if (!force && now_seconds - last_seconds_ < every_seconds_) {
    waiting_ = text;
    return;
  }
  last_seconds_ = now_seconds;
  show(text);
}

void ProgressLine::note(const std::string& text) {
  if (style_ != Style::silent) write_stderr_line(printable(text, text.size()));
}

void ProgressLine::finish() {
  if (!waiting_.empty()) show(std::exchange(waiting_, ""));
  if (open_) end_stderr_line();
  open_ = false;
  last_seconds_ = -1e300;
}

void ProgressLine::show(const std::string& text) {
  waiting_.clear();
  const std::string line = printable(text, text.size());
  if (style_ == Style::plain) return write_stderr_line(line);
  // One column less: some terminals wrap as soon as the last one is written.
  redraw_stderr_line(fit(line, terminal_width(2) - 1));
  open_ = true;
}

std::string progress_bar(double fraction, int width) {
  const int inner = std::max(width - 2, 0);
  const double share = fraction >= 0 ? std::min(fraction, 1.0) : 0;  // NaN is 0
  const int done = static_cast<int>(std::floor(share * inner));
  return str('[', std::string(static_cast<size_t>(done), '#'),
             std::string(static_cast<size_t>(inner - done), '-'), ']');
}

namespace {

/// Field i of /proc/self/statm (0: address space, 1: resident), which counts pages, in bytes.
uint64_t statm_bytes(size_t i) {
  const std::vector<std::string> fields = split(read_file("/proc/self/statm"), ' ');
  return i < fields.size() ? std::strtoull(fields[i].c_str(), nullptr, 10) *
                                 static_cast<uint64_t>(::sysconf(_SC_PAGESIZE))
                           : 0;
}

}  // namespace

uint64_t resident_bytes() { return statm_bytes(1); }

uint64_t peak_resident_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

uint64_t available_bytes() {
  uint64_t available = std::numeric_limits<uint64_t>::max();
  constexpr std::string_view kField = "MemAvailable:";
  for (const std::string& line : split(read_file("/proc/meminfo"), '\n'))
    if (line.starts_with(kField))
      available = std::strtoull(line.c_str() + kField.size(), nullptr, 10) * 1024;
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    const uint64_t used = statm_bytes(0);
    available = std::min<uint64_t>(available, limit.rlim_cur - std::min(used, limit.rlim_cur));
  }
  return available;
}

}  // namespace moe
