// SPDX-License-Identifier: MIT
// moe data prepare, and what moe data inspect says of the folder that it makes.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

namespace moe {

std::pair<CLI::App*, std::function<int()>> add_data_prepare(CLI::App& app);

/// Verifies the shards of a folder and prints what they hold, with the first `samples` documents.
int inspect_prepared(const std::string& folder, int64_t samples, bool json);

}  // namespace moe
