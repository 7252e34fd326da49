// SPDX-License-Identifier: MIT
// moe data bilingual
#pragma once

#include "apps/moe/cmd_data_files.h"

namespace moe {

DataFileCommands::value_type add_data_bilingual(CLI::App& data);

}  // namespace moe
