// SPDX-License-Identifier: MIT
// Text as words and punctuation, for statistics of it: whatever stands between white space, each
// Chinese character by itself, without the punctuation that stands around many different words.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace moe {

using Unit = int32_t;  // a word, or punctuation that stands by itself
inline constexpr Unit kBeginUnit = 0, kEndUnit = 1;

/// Parts of a text as units.
struct TextUnits {
  std::vector<std::string> names{"", ""};  // of units; the first two are kBeginUnit and kEndUnit
  std::vector<Unit> all = {};              // of all parts, one after the other
  std::vector<size_t> begins = {};         // where each part begins, and the end
  std::vector<int64_t> n_written{0, 0};    // of units: how often
  std::vector<int64_t> n_upper{0, 0};      // with a capital letter
  std::vector<int64_t> n_mixed{0, 0};      // with case that changes within: "pYlS"
  size_t n_parts() const { return begins.size() - 1; }
  size_t size(size_t part) const { return begins[part + 1] - begins[part]; }
  Unit at(size_t part, int64_t i) const {  // -1 and size() are its ends
    if (i < 0) return kBeginUnit;
    return size_t(i) < size(part) ? all[begins[part] + size_t(i)] : kEndUnit;
  }
};
TextUnits cut_into_units(const std::vector<std::string_view>& parts);

/// Calls f(begin, end) for each run without white space; each Chinese character is one.
void for_each_chunk(std::string_view text, const std::function<void(size_t, size_t)>& f);

/// What makes two words one unit: lower case, each run of digits one 0.
std::string folded(std::string_view word);

}  // namespace moe
