// SPDX-License-Identifier: MIT
// UTF-8, one code point at a time and as a stream. The examples of ill-formed text are Unicode
// 15's, section 3.9.
#include "moe/base/utf8.h"

#include <gtest/gtest.h>

#include "moe/base/str.h"
#include "moe/text/utf8_stream.h"

namespace moe {
namespace {

std::string in_pieces(std::string_view text, size_t piece) {
  Utf8Stream stream;
  std::string out;
  for (size_t i = 0; i < text.size(); i += piece) out += stream.push(text.substr(i, piece));
  return out + stream.finish();
}

TEST(Utf8, EveryCodePointSurvivesARoundTrip) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string bytes;
    append_utf8(bytes, c);
    const Utf8Unit unit = next_utf8(bytes);
    ASSERT_EQ(unit.state, Utf8State::complete);
    ASSERT_EQ(unit.code_point, c);
    ASSERT_EQ(unit.size, bytes.size());
  }
}

TEST(Utf8, AgreesWithTheCheckOfWholeTexts) {
  // All two-byte texts: well-formed for one exactly when for the other.
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const std::string text = {static_cast<char>(a), static_cast<char>(b)};
      size_t good = 0;
      while (good < 2) {
        const Utf8Unit unit = next_utf8(std::string_view(text).substr(good));
        if (unit.state != Utf8State::complete) break;
        good += unit.size;
      }
      ASSERT_EQ(good == 2, first_invalid_utf8(text) == std::string::npos) << a << " " << b;
    }
  }
}

TEST(Utf8Stream, NeverEmitsHalfACharacter) {
  const std::string text = "aé漢😀z";
  Utf8Stream stream;
  for (const char c : text)
    EXPECT_EQ(first_invalid_utf8(stream.push(std::string(1, c))), std::string::npos);
  EXPECT_EQ(stream.finish(), "");
}

TEST(Utf8Stream, GivesTheSameTextForEveryCut) {
  const std::string text = "x\xF0\x9F\x98\x80 caf\xC3\xA9 \xE6\xBC\xA2\n";
  for (size_t piece = 1; piece <= text.size(); ++piece) EXPECT_EQ(in_pieces(text, piece), text);
}

TEST(Utf8Stream, ReplacesEachMaximalSubpartByOneReplacementCharacter) {
  const std::string r = "\xEF\xBF\xBD";
  // Table 3-8: "\xE1\x80" + "\xE2" + "\xF0\x91\x92" + "\xF1\xBF" + 'A' -> four replacements.
  for (size_t piece = 1; piece < 10; ++piece) {
    EXPECT_EQ(in_pieces("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF"
                        "A",
                        piece),
              r + r + r + r + "A");
    EXPECT_EQ(in_pieces("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82"
                        "A",
                        piece),
              r + r + r + r + r + r + r + r + "A");
    EXPECT_EQ(in_pieces("\xED\xA0\x80\xED\xBF\xBF\xED\xAF"
                        "A",
                        piece),
              r + r + r + r + r + r + r + r + "A");
  }
}

TEST(Utf8Stream, FinishReportsAnUnfinishedCharacterOnce) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("ok\xF0\x9F"), "ok");
  EXPECT_EQ(stream.finish(), "\xEF\xBF\xBD");
  EXPECT_EQ(stream.finish(), "");
}

}  // namespace
}  // namespace moe
