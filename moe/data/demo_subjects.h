// SPDX-License-Identifier: MIT
// What the five subjects of the demo corpus ask. One line a sample; answers follow from their
// prompts alone.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "moe/base/rng.h"

namespace moe {

/// The draws of one sample, one after another.
class DemoDraws {
 public:
  DemoDraws(const RngStream& stream, int64_t index) : stream_(stream), index_(index) {}
  /// In [0, n).
  int64_t below(int64_t n) {
    return static_cast<int64_t>(stream_.below(static_cast<uint64_t>(n), index_, column_++));
  }
  /// In [low, high].
  int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }
  /// n different characters of an alphabet, in random order.
  std::string letters(std::string_view alphabet, int64_t n);

 private:
  RngStream stream_;
  int64_t index_;
  int64_t column_ = 0;
};

struct DemoTask {
  std::string prompt, answer;
};

struct DemoSubject {
  std::string_view name;
  int weight;  // how often it is drawn, beside the others: a story is twice as long as the rest
  DemoTask (*draw)(DemoDraws&);
};

extern const std::array<DemoSubject, 5> kDemoSubjects;

}  // namespace moe
