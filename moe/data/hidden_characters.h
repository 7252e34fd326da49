// SPDX-License-Identifier: MIT
// Characters that a reader does not see or takes for others: zero width, direction, tags, letters
// of another script that look Latin, other forms of Latin letters, control characters.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace moe {

struct HiddenCharacters {
  std::string kind;   // "zero width", "direction", "tags", "look-alikes", "other forms", "controls"
  size_t begin, end;  // bytes of the word or of the run of such characters
};

/// All in a text, in order. Joiners beside letters of scripts that need them and within emoji are
/// not hidden, nor is what an ordinary emoji holds.
std::vector<HiddenCharacters> find_hidden_characters(std::string_view text);

}  // namespace moe
