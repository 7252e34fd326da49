// SPDX-License-Identifier: MIT
// The data of a run as its configuration and stage say.
#pragma once

#include <memory>
#include <string>

#include "moe/data/chat_dataset.h"
#include "moe/train/run_config.h"

namespace moe {

struct RunData {
  Dataset data;
  std::unique_ptr<ChatEncoder> chat;  // of stage sft
};

/// checkpoint: of the run that goes on, "" of a new one; its tokenizer and chat template win over
/// what the configuration names. Throws Error as open_dataset and open_chat_dataset do.
RunData open_run_data(const RunConfig& config, const std::string& checkpoint);

/// train.steps, or those that train.epochs take.
int64_t steps_of_run(const RunConfig& config, const Dataset& data);

}  // namespace moe
