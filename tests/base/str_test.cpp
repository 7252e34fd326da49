// SPDX-License-Identifier: MIT
#include "moe/base/str.h"

#include <gtest/gtest.h>

namespace moe {
namespace {

TEST(Str, NumbersAppearInTheirShortestExactForm) {
  EXPECT_EQ(str("[x] ", 3, ' ', 0.1, " ", 1e-6f, " ", true, " ", int64_t{-5}),
            "[x] 3 0.1 1e-06 true -5");
}

TEST(Str, BracesInForeignTextAreNotAFormat) {
  EXPECT_EQ(str("{} {0}", std::string("{}")), "{} {0}{}");
}

TEST(Printable, ControlCharactersCannotReachATerminal) {
  EXPECT_EQ(printable("a\x1b[31mb\n\x7f"), "a\\x1B[31mb\\x0A\\x7F");
  EXPECT_EQ(printable("\xC2\x9B"), "\\xC2\\x9B");  // U+009B starts a command, like ESC [
  EXPECT_EQ(printable("\xC2\xA0"), "\xC2\xA0");
}

TEST(Printable, BrokenUtf8IsEscapedAndTheRestKept) {
  EXPECT_EQ(printable("\xE4\xB8\xAD\xE4\xB8!\xFF"), "\xE4\xB8\xAD\\xE4\\xB8!\\xFF");
}

TEST(Printable, LongTextIsCutBetweenCharacters) {
  EXPECT_EQ(printable("abcdef", 3), "abc...");
  EXPECT_EQ(printable("abc", 3), "abc");
  EXPECT_EQ(printable("\xE4\xB8\xAD\xE6\x96\x87", 1), "\xE4\xB8\xAD...");
}

TEST(NearestWord, FindsTypingErrors) {
  const std::vector<std::string> words = {"n_experts", "top_k", "d_ff", "n_layers"};
  EXPECT_EQ(nearest_word("n_expert", words), "n_experts");
  EXPECT_EQ(nearest_word("topk", words), "top_k");
  EXPECT_EQ(nearest_word("n_laeyrs", words), "n_layers");  // neighbours swapped: distance 1
  EXPECT_EQ(nearest_word("dff", words), "d_ff");
}

TEST(NearestWord, ADistantWordIsNoSuggestion) {
  const std::vector<std::string> words = {"n_experts", "top_k"};
  EXPECT_EQ(nearest_word("banana", words), "");
  EXPECT_EQ(nearest_word("", words), "");
  EXPECT_EQ(nearest_word("x", {}), "");
}

TEST(NearestWord, TheFirstOfEquallyNearWordsWins) {
  const std::vector<std::string> words = {"cat", "bat"};
  EXPECT_EQ(nearest_word("rat", words), "cat");
}

TEST(NearestWord, AHugeWordIsRefusedAtOnce) {
  const std::vector<std::string> words = {std::string(100'000, 'a')};
  EXPECT_EQ(nearest_word(std::string(100'000, 'a'), words), "");
}

TEST(Split, KeepsEmptyParts) {
  EXPECT_EQ(split("a,,b,", ','), (std::vector<std::string>{"a", "", "b", ""}));
  EXPECT_EQ(split("", ','), std::vector<std::string>{""});
}

TEST(Join, IsTheInverseOfSplit) {
  const std::vector<std::string> parts = {"a", "", "b", ""};
  EXPECT_EQ(join(parts, ","), "a,,b,");
  EXPECT_EQ(join({}, ","), "");
}

TEST(Trim, CutsSpaceAtBothEndsOnly) {
  EXPECT_EQ(trim("  a b\r\n"), "a b");
  EXPECT_EQ(trim(" \t\n"), "");
}

TEST(WithCommas, GroupsThreeDigits) {
  EXPECT_EQ(with_commas(0), "0");
  EXPECT_EQ(with_commas(999), "999");
  EXPECT_EQ(with_commas(1000), "1,000");
  EXPECT_EQ(with_commas(-123456), "-123,456");
  EXPECT_EQ(with_commas(std::numeric_limits<int64_t>::min()), "-9,223,372,036,854,775,808");
}

TEST(HumanBytes, NeverShowsAThousandOfAUnit) {
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1024), "1.0 KiB");
  EXPECT_EQ(human_bytes(1'288'490'189), "1.2 GiB");
  EXPECT_EQ(human_bytes((uint64_t{1} << 20) - 1), "1.0 MiB");
  EXPECT_EQ(human_bytes(~uint64_t{0}), "16.0 EiB");
}

TEST(HumanSeconds, ShowsTheTwoLargestUnits) {
  EXPECT_EQ(human_seconds(0.0123), "12 ms");
  EXPECT_EQ(human_seconds(3.21), "3.2 s");
  EXPECT_EQ(human_seconds(59.6), "1 min 0 s");
  EXPECT_EQ(human_seconds(200), "3 min 20 s");
  EXPECT_EQ(human_seconds(2 * 3600 + 59 * 60), "2 h 59 min");
  EXPECT_EQ(human_seconds(86400 * 3 + 7200), "3 d 2 h");
  EXPECT_EQ(human_seconds(-2), "-2.0 s");
  EXPECT_EQ(human_seconds(1e300).substr(0, 2), "11");
  EXPECT_EQ(human_seconds(std::numeric_limits<double>::infinity()), "unknown");
  EXPECT_EQ(human_seconds(std::numeric_limits<double>::quiet_NaN()), "unknown");
}

TEST(Utf8, EveryScalarValueIsWellFormed) {
  for (uint32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    if (c < 0x80)
      text = {char(c)};
    else if (c < 0x800)
      text = {char(0xC0 | c >> 6), char(0x80 | (c & 63))};
    else if (c < 0x10000)
      text = {char(0xE0 | c >> 12), char(0x80 | (c >> 6 & 63)), char(0x80 | (c & 63))};
    else
      text = {char(0xF0 | c >> 18), char(0x80 | (c >> 12 & 63)), char(0x80 | (c >> 6 & 63)),
              char(0x80 | (c & 63))};
    ASSERT_EQ(first_invalid_utf8(text), std::string_view::npos) << c;
  }
}

TEST(Utf8, OverlongSurrogateTruncatedAndTooLargeAreErrors) {
  const std::string_view bad[] = {
      "\xC0\x80",         "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
      "\xF4\x90\x80\x80", "\xF5\x80", "\x80",         "\xC3",         "\xE4\xB8",
      "\xF0\x9F\x98",     "\xC3("};
  for (const std::string_view text : bad)
    EXPECT_EQ(first_invalid_utf8("ok" + std::string(text)), 2u) << printable(text);
}

}  // namespace
}  // namespace moe
