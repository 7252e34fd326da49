// SPDX-License-Identifier: MIT
// The commands of `moe data` that work on files of records.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <utility>
#include <vector>

namespace moe {

using DataFileCommands = std::vector<std::pair<CLI::App*, std::function<int()>>>;
DataFileCommands add_data_file_commands(CLI::App& app);

}  // namespace moe
