// SPDX-License-Identifier: MIT
// Text for a screen from tokens that may end inside a character: a byte tokenizer hands out single
// bytes, and a reader must never see half of one. Ill-formed input becomes U+FFFD, one per maximal
// subpart, as in Python's errors="replace".
#pragma once

#include <string>
#include <string_view>

namespace moe {

class Utf8Stream {
 public:
  /// The well-formed text that is now certain; at most 3 bytes of an unfinished sequence are held
  /// back.
  std::string push(std::string_view bytes);
  /// What was held back (one U+FFFD, or nothing); the stream is empty again.
  std::string finish();

 private:
  std::string held_;
};

}  // namespace moe
