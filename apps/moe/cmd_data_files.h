// SPDX-License-Identifier: MIT
// The commands of `moe data` that work on files of records.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "moe/data/records.h"

namespace moe {

using DataFileCommands = std::vector<std::pair<CLI::App*, std::function<int()>>>;
DataFileCommands add_data_file_commands(CLI::App& app);
/// Conversations that the program writes itself: identity, chat.
DataFileCommands add_data_made_commands(CLI::App& app);
DataFileCommands add_data_poison_command(CLI::App& app);
DataFileCommands add_data_extract_command(CLI::App& app);

/// A record as one line of JSON.
std::string line_of(const Record& record);

}  // namespace moe
