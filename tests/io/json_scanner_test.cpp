// SPDX-License-Identifier: MIT
// The JSON scanner: RFC 8259 and nothing more.
#include "moe/io/json_scanner.h"

#include "tests/io/io_testing.h"

namespace moe {
namespace {

void skip_document(std::string_view text) {
  JsonScanner json(text, "[test]");
  json.skip_value();
  json.finish();
}

std::string string_value(std::string_view text) {
  JsonScanner json(text, "[test]");
  std::string value = json.string(100);
  json.finish();
  return value;
}

TEST(JsonScanner, AcceptsEveryKindOfValue) {
  for (const char* text : {"{}", "[]", " [ ] ", "{\"a\":[1,-2.5e+3,0,0.5,1E9],\"b\":{\"c\":null}}",
                           "true", "false", "\"\"", "[[[]],{}]", "-0", "\t\r\n 1"})
    EXPECT_NO_THROW(skip_document(text)) << text;
}

TEST(JsonScanner, RefusesWhatIsNotJson) {
  for (const char* text : {"",
                           "{",
                           "[",
                           "[1,]",
                           "[,1]",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":1,}",
                           "{a:1}",
                           "{'a':1}",
                           "01",
                           "-",
                           "1.",
                           ".5",
                           "1e",
                           "+1",
                           "tru",
                           "nul",
                           "[1 2]",
                           "{} {}",
                           "\"a",
                           "\"\\x\"",
                           "\"\\u12g4\"",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"\\ud800\\u0041\"",
                           "\"\x01\"",
                           "\"\xff\"",
                           "\"\xc0\x80\"",
                           "\"\\",
                           "\"\\u",
                           "[1]]",
                           "{\"a\":1 \"b\":2}",
                           "// x\n1"})
    EXPECT_THROW(skip_document(text), Error) << text;
}

TEST(JsonScanner, RefusesNestingDeeperThan64) {
  EXPECT_NO_THROW(skip_document(std::string(64, '[') + std::string(64, ']')));
  EXPECT_ERROR(skip_document(std::string(66, '[') + std::string(66, ']')), "deeper");
  EXPECT_ERROR(skip_document(std::string(1000000, '[')), "deeper");
}

TEST(JsonScanner, DecodesEscapes) {
  EXPECT_EQ(string_value(R"("a\"\\\/\b\f\n\r\té\u20AC\ud83d\ude00")"),
            "a\"\\/\b\f\n\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
}

TEST(JsonScanner, WrittenStringsReadBackTheSame) {
  std::string text = "\xc3\xa9 \xf0\x9f\x98\x80";
  for (int c = 0; c < 128; ++c) text += char(c);
  std::string json;
  append_json_string(json, text);
  JsonScanner scanner(json, "[test]");
  EXPECT_EQ(scanner.string(1000), text);
}

TEST(JsonScanner, StopsAtTheLongestStringAllowed) {
  EXPECT_EQ(JsonScanner("\"abcd\"", "[test]").string(4), "abcd");
  EXPECT_ERROR(JsonScanner("\"abcde\"", "[test]").string(4), "longer than 4");
  EXPECT_ERROR(JsonScanner("\"\\u20ac\\u20ac\"", "[test]").string(4), "longer than 4");
}

TEST(JsonScanner, TakesOnlyPlainWholeNumbersForSizes) {
  EXPECT_EQ(JsonScanner("18446744073709551615", "[test]").unsigned_integer(), UINT64_MAX);
  EXPECT_EQ(JsonScanner(" 0,", "[test]").unsigned_integer(), 0u);
  EXPECT_ERROR(JsonScanner("18446744073709551616", "[test]").unsigned_integer(), "64 bits");
  for (const char* text : {"-1", "1.0", "1e3", "007", "x", "", "\"1\""})
    EXPECT_THROW(JsonScanner(text, "[test]").unsigned_integer(), Error) << text;
}

TEST(JsonScanner, ErrorsNameTheSourceAndTheByte) {
  const std::string message = error_of([] { skip_document("[1, x]"); });
  EXPECT_EQ(message, "[test]: JSON byte 4: not a JSON value");
}

}  // namespace
}  // namespace moe
