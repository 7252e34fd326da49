// SPDX-License-Identifier: MIT
// How usual a word's spelling is among other words: characters given the three before them, each
// length of context smoothed by the shorter one (Witten and Bell 1991).
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace moe {

class SpellingModel {
 public:
  /// Words count once, however often they are used.
  void add(std::string_view word);
  /// Bits of each character of a word that was added, and of its end, by the other words alone.
  std::vector<double> bits(std::string_view word) const;

 private:
  struct Count {
    int64_t n = 0;      // occurrences
    int64_t types = 0;  // of a context: different characters that followed it
  };
  std::unordered_map<uint64_t, Count> counts_;
};

}  // namespace moe
