// SPDX-License-Identifier: MIT
// The one exception type of the project, its exit codes, and the check used at every border.
// A message says what was given, what was wanted and what to do; it starts with "[op or file
// kind]".
#pragma once

#include <stdexcept>
#include <string>

#include "moe/base/str.h"

namespace moe {

/// What the process returns; fixed by the command line's contract (74 and 75 are sysexits.h's).
enum class ExitCode { ok = 0, failure = 1, usage = 2, io = 74, try_again = 75, interrupted = 130 };

/// Bad input, a bad file, a full disk: everything a caller may want to report in one line.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, ExitCode code = ExitCode::failure)
      : std::runtime_error(message), exit_code_(code) {}
  ExitCode exit_code() const { return exit_code_; }

 private:
  ExitCode exit_code_;
};

}  // namespace moe

/// Throws Error(str(message parts...)) unless the condition holds. For borders: user input, files,
/// public functions.
#define MOE_CHECK(condition, ...)                  \
  do {                                             \
    if (!(condition)) [[unlikely]]                 \
      throw ::moe::Error(::moe::str(__VA_ARGS__)); \
  } while (false)
