// SPDX-License-Identifier: MIT
// Lines that a person types: edited and remembered on a terminal, plain from a pipe.
#pragma once

#include <optional>
#include <string>

namespace moe {

/// The next line without its end; nothing at the end of the input (Ctrl-D). On a terminal with
/// editing and the lines before it; Ctrl-C there gives "" and sets interrupted().
std::optional<std::string> read_line(const std::string& prompt);

}  // namespace moe
