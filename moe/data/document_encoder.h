// SPDX-License-Identifier: MIT
// Documents of training data as token ids, a share of them cut in three for filling in the middle
// (data.fim_rate).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "moe/text/fill_in_middle.h"
#include "moe/text/tokenizer.h"

namespace moe {

class DocumentEncoder {
 public:
  /// tokenizer must outlive the object. Throws Error when fim_rate > 0 and it lacks the markers.
  DocumentEncoder(const Tokenizer& tokenizer, double fim_rate, uint64_t seed);
  /// Whether document number `index` of the training part is cut in three.
  bool cuts(int64_t index) const;
  /// Its ids, without an end-of-text id.
  std::vector<TokenId> encode(std::string_view text, int64_t index) const;

 private:
  const Tokenizer& tokenizer_;
  double fim_rate_;
  uint64_t seed_;
  std::optional<FimMarkers> markers_;
};

}  // namespace moe
