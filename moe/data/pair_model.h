// SPDX-License-Identifier: MIT
// Pairs of words as a language model: whether a place in a text looks like one where a rare word
// stands by nature, or like one where the text was cut open to put something in.
#pragma once

#include <unordered_map>
#include <vector>

#include "moe/data/text_units.h"

namespace moe {

class PairModel {
 public:
  /// rare: of units, whether they count as rare words; must outlive this. Of a long text an even
  /// sample of the parts is counted.
  PairModel(const TextUnits& units, const std::vector<char>& rare);

  /// log2 of P(after | before) over P(a rare word | before) P(after | a rare word), all without the
  /// place itself: `joined`, it was counted as a pair, else as a rare word between them.
  double bits(Unit before, Unit after, bool joined) const;

 private:
  static uint64_t pair(Unit a, Unit b) { return uint64_t(uint32_t(a)) << 32 | uint32_t(b); }
  struct Of {
    int64_t n = 0, followers = 0, leaders = 0, before_rare = 0, behind_rare = 0;
  };
  const std::vector<char>& rare_;
  std::vector<Of> of_unit_;
  std::unordered_map<uint64_t, int32_t> pairs_;
  int64_t n_ = 0, n_rare_ = 0;
};

}  // namespace moe
