// SPDX-License-Identifier: MIT
// Lines for people on stderr. Warnings are prefixed "warning:"; control characters from foreign
// text are escaped.
#pragma once

#include <string>

namespace moe {

void log_info(const std::string& line);
/// What a command was asked for; said even when quiet.
void log_result(const std::string& line);
void log_warning(const std::string& line);
/// Silences log_info and progress lines (--quiet); results and warnings stay.
void set_quiet(bool quiet);
bool is_quiet();

}  // namespace moe
