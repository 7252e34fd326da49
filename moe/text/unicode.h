// SPDX-License-Identifier: MIT
// Unicode as tokenizers need it: general categories and White_Space by code point, the four
// normal forms and simple lower-casing (utf8proc, Unicode 15). Text may hold bytes that are no
// UTF-8: each is a unit of one byte without any property and passes every function unchanged, so
// nothing is lost before the vocabulary decides.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "moe/base/utf8.h"

namespace moe {

/// Properties of a code point, or-ed.
enum CodePointFlags : uint16_t {
  kLetter = 1,
  kNumber = 2,
  kMark = 4,
  kPunctuation = 8,
  kSymbol = 16,
  kWhiteSpace = 32,       // the property White_Space: 25 code points
  kUpperCase = 64,        // Lu, Lt
  kLowerCase = 128,       // Ll
  kOtherLetter = 256,     // Lm, Lo
  kNonspacing = 512,      // Mn
  kWordCharacter = 1024,  // \w: Alphabetic, marks, Nd, Pc, Join_Control
  kControl = 2048,        // Cc, Cf, Co, Cs
  kHan = 4096             // the script Han
};

/// code_point_flags()[c] for c <= kInvalidByte; made at the first call.
const uint16_t* code_point_flags();

enum class NormalForm { nfc, nfd, nfkc, nfkd };
std::string to_normal_form(std::string_view text, NormalForm form);
/// Every code point's full lower-case mapping without context, as Rust's char::to_lowercase.
std::string to_lower(std::string_view text);
/// Every code point's simple upper-case mapping, and U+00DF as "SS".
std::string to_upper(std::string_view text);
/// Bytes of the extended grapheme cluster that begins at text[position] (UAX 29).
size_t grapheme_size(std::string_view text, size_t position);

}  // namespace moe
