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

/// train.steps, or those that train.epochs take; not more than data.mixture has windows for.
int64_t steps_of_run(const RunConfig& config, const Dataset& data);

/// What a run takes from one source of data.mixture.
struct SourceShare {
  std::string path = {};
  double share = 0;  // of the run's windows
  int64_t windows = 0, validation_windows = 0;
  double epochs = 0, most_epochs = 0;  // passes over it in the run; 0: no limit
};
/// Empty when there is one source.
std::vector<SourceShare> source_shares(const RunConfig& config, const Dataset& data);
/// One line for people.
std::string source_line(const SourceShare& source);

}  // namespace moe
