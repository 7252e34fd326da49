// SPDX-License-Identifier: MIT
// Names of checkpoint folders (see checkpoint_name.h).
#include "moe/io/checkpoint_name.h"

#include <charconv>
#include <fmt/format.h>

#include "moe/base/fs.h"
#include "moe/base/str.h"

namespace moe {

std::string checkpoints_folder(std::string_view run_folder) {
  return join_path(run_folder, "checkpoints");
}

std::string checkpoint_name(int64_t step) { return fmt::format("ckpt-{:06d}", step); }

std::optional<CheckpointName> parse_checkpoint_name(std::string_view name) {
  const size_t dot = name.find('.');
  const std::string_view base = name.substr(0, dot);
  CheckpointName parsed;
  if (dot != std::string_view::npos) {
    const std::string_view suffix = name.substr(dot);
    if (starts_with(suffix, ".tmp-"))
      parsed.kind = CheckpointName::Kind::temporary;
    else if (starts_with(suffix, ".old-"))
      parsed.kind = CheckpointName::Kind::moved_aside;
    else
      return std::nullopt;
  }
  constexpr std::string_view kPrefix = "ckpt-";
  if (!starts_with(base, kPrefix)) return std::nullopt;
  const auto [end, error] =
      std::from_chars(base.data() + kPrefix.size(), base.data() + base.size(), parsed.step);
  // Written back, it must be the same name: no sign, no missing or extra zeros, nothing behind the
  // digits.
  if (error != std::errc() || parsed.step < 0 || checkpoint_name(parsed.step) != base)
    return std::nullopt;
  return parsed;
}

}  // namespace moe
