// SPDX-License-Identifier: MIT
// Stop strings across token boundaries: text that could be the beginning of one is held back until
// it is decided.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace moe {

class StopStrings {
 public:
  /// stops: none empty; no stops at all lets everything through.
  explicit StopStrings(std::vector<std::string> stops);
  /// Adds text; returns what may be shown now. Once a stop string is complete, what stands before
  /// it is returned, and nothing afterwards.
  std::string push(std::string_view text);
  /// What is still held back, at the end of the text without a stop string.
  std::string finish();
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace moe
