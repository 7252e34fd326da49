// SPDX-License-Identifier: MIT
// Names inside run/checkpoints: "ckpt-000123" is a checkpoint, "ckpt-000123.tmp-<random>" one being
// written or removed, "ckpt-000123.old-<random>" one that gives way to a new save of the same step.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace moe {

struct CheckpointName {
  enum class Kind { final, temporary, moved_aside };
  int64_t step = 0;
  Kind kind = Kind::final;
};

std::string checkpoints_folder(std::string_view run_folder);
/// "ckpt-000123"; more digits from step 1,000,000 on.
std::string checkpoint_name(int64_t step);
/// Nothing for any other name.
std::optional<CheckpointName> parse_checkpoint_name(std::string_view name);

}  // namespace moe
