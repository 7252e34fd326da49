// SPDX-License-Identifier: MIT
// What `train` and `demo` share: positional CONFIG.yaml | RUN_DIR and key=value arguments.
#pragma once

#include "moe/train/run.h"

#include "apps/moe/command.h"

namespace moe {

/// Splits positional arguments: key=value overrides, and at most one path (a YAML file or, with
/// resume, a run folder).
ConfigSource config_source(const std::vector<std::string>& arguments, bool resume);

/// Runs with Ctrl-C handling and prints how it ended. Returns the exit code.
int train_and_report(const RunConfig& config, RunOptions options, bool json,
                     RunResult* result = nullptr);

}  // namespace moe
