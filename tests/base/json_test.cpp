// SPDX-License-Identifier: MIT
#include "moe/base/json.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>

#include "moe/base/rng.h"

#include "allocation_peak.h"
#include "temp_folder.h"

namespace moe {
namespace {

std::string parse_error(std::string_view text) {
  return error_of([&] { parse_json(text, "[t] f"); });
}

TEST(JsonParse, EveryKindOfValueIsRead) {
  const Json value = parse_json(
      R"( {"a": [1, -2, 18446744073709551615, 2.5, true, false, null], "b": {"": "x\u00e9\n"}} )",
      "[t] f");
  EXPECT_EQ(to_json_line(value),
            "{\"a\": [1, -2, 18446744073709551615, 2.5, true, false, null], \"b\": {\"\": "
            "\"x\xC3\xA9\\n\"}}");
}

TEST(JsonParse, ErrorsNameSourceLineAndColumn) {
  EXPECT_EQ(parse_error("{\"a\": 1,\n  \"b\": }").substr(0, 29), "[t] f: line 2, column 8: synt");
  EXPECT_EQ(parse_error("[1, 2"),
            "[t] f: line 1, column 6: the text ends too early; it is damaged or incomplete");
  EXPECT_EQ(parse_error(""),
            "[t] f: line 1, column 1: the text ends too early; it is damaged or incomplete");
  EXPECT_EQ(parse_error("[1] [2]"),
            "[t] f: line 1, column 5: text after the end of the JSON value");
}

TEST(JsonParse, DuplicateKeysAreRefused) {
  EXPECT_EQ(parse_error("{\"a\": 1,\n \"a\": 2}"),
            "[t] f: line 2, column 4: the key \"a\" occurs twice in one object");
  EXPECT_NE(parse_error(R"({"x": {"a": 1, "\u0061": 2}})"), "")
      << "also when one is spelt with an escape";
  EXPECT_EQ(parse_error(R"({"a": {"a": {"a": 1}}, "b": {"a": 1}})"), "");
  std::string many = "{";
  for (int i = 0; i < 100; ++i) many += str("\"key ", i, "\": 0, ");
  EXPECT_EQ(parse_error(many + "\"key 100\": 0}"), "");
  EXPECT_NE(parse_error(many + "\"key 57\": 0}"), "")
      << "also in an object large enough for a hash table";
}

TEST(JsonParse, SixtyFourLevelsAreReadAndNoMore) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_EQ(parse_error(nested(64)), "");
  EXPECT_NE(parse_error(nested(65)).find("nested deeper than 64"), std::string::npos);
  EXPECT_NE(parse_error(std::string(1'000'000, '[')).find("nested deeper than 64"),
            std::string::npos);
}

TEST(JsonParse, TextThatIsNoUtf8IsRefused) {
  EXPECT_EQ(parse_error("{\"a\":\n \"\xFF\"}"), "[t] f: line 2, column 3: not valid UTF-8");
  EXPECT_NE(parse_error(R"("\ud800")"), "") << "half of a surrogate pair";
  EXPECT_EQ(parse_error(R"("\ud83d\ude00")"), "");
}

TEST(JsonParse, WhatOnlyLooksLikeJsonIsRefused) {
  for (const char* text :
       {"[1,]",      "{\"a\":1,}", "{a: 1}",   "['a']",          "[01]",    "[+1]",      "[.5]",
        "[1.]",      "NaN",        "Infinity", "[1 2]",          "// c\n1", "/* c */ 1", "\"a\nb\"",
        "\"\\x41\"", "nul",        "tru",      "\xEF\xBB\xBF{}", "[1e999]", "[-1e999]"})
    EXPECT_NE(parse_error(text), "") << text;
}

TEST(JsonParse, NumbersAreRoundedCorrectly) {
  // Boost 1.81's own conversion is one unit off for the first of these.
  for (const char* text : {"9.8765432109876543e-300", "0.1", "1.7976931348623157e308", "5e-324",
                           "2.2250738585072011e-308", "123456789012345678901234567890", "1e-400",
                           "-0.0", "1E5", "0.30000000000000004"}) {
    const double value = parse_json(text, "[t] f").as_double();
    EXPECT_EQ(value, std::strtod(text, nullptr)) << text;
  }
  EXPECT_EQ(parse_json("9223372036854775807", "[t] f").as_int64(),
            std::numeric_limits<int64_t>::max());
}

TEST(JsonParse, ObjectsKeepTheOrderOfTheirKeys) {
  EXPECT_EQ(to_json_line(parse_json(R"({"z": 1, "a": 2, "m": 3})", "[t] f")),
            R"({"z": 1, "a": 2, "m": 3})");
}

/// Texts whose values are much larger than they are, and ordinary ones.
std::vector<std::string> bulky_texts() {
  const auto repeat = [](std::string_view open, std::string_view item, std::string_view close,
                         int n) {
    std::string text(open);
    for (int i = 0; i < n; ++i) text += str(i == 0 ? "" : ",", item);
    return text + std::string(close);
  };
  const auto members = [](int n, std::string_view value) {
    std::string text = "{";
    for (int i = 0; i < n; ++i) text += str(i == 0 ? "" : ",", "\"", i, "\":", value);
    return text + "}";
  };
  std::vector<std::string> texts;
  for (const int n : {100, 20'000, 200'000}) {
    for (const char* item : {"0", "[]", "{}", "[0]", "\"\"", "\"fifteen letters\"", "\"a\\n\"",
                             "{\"a\":0}", "1.5", "[[[[]]]]"})
      texts.push_back(repeat("[", item, "]", n));
    for (const char* value : {"0", "[]", "\"fifteen letters\"", "{\"a\":[0]}"})
      texts.push_back(members(n, value));
    texts.push_back("\"" + std::string(n, 'x') + "\"");
    texts.push_back("[\"" + std::string(n, 'x') + "\\n" + std::string(n, 'y') + "\"]");
    texts.push_back("{\"" + std::string(n, 'x') + "\\n\":0}");
    texts.push_back(std::string(n, ' ') + "1");
    texts.push_back("1" + std::string(n, '0'));
  }
  return texts;
}

TEST(JsonParse, MemoryStaysBelowFourTimesTheTextPlusOneMiB) {
  int n_refused = 0, n_read = 0;
  for (const std::string& text : bulky_texts()) {
    const AllocationPeak peak;
    const std::string error = parse_error(text);
    EXPECT_LE(peak.bytes(), 4 * text.size() + (1 << 20))
        << text.substr(0, 20) << " x " << text.size() << ' ' << error;
    if (error.find("too large for its text") != std::string::npos)
      ++n_refused;
    else
      ++n_read;
  }
  EXPECT_GT(n_refused, 5);
  EXPECT_GT(n_read, 20);
}

TEST(JsonParse, ObjectsHaveAnOddNumberOfBuckets) {
  // With 65,536 buckets, 65,535 keys made for it fell into one and took 20 s to read; with 65,537,
  // 0.1 s.
  std::string text = "{\"first\": 0";
  for (int i = 1; i < 64; ++i) text += str(", \"", i, "\": 0");
  EXPECT_EQ(parse_json(text + "}", "[t] f").as_object().capacity(), 65u);
}

TEST(JsonParse, EveryTruncationOfADocumentIsOneError) {
  const std::string text = R"({"a": [1.5e3, "x\u00e9", {"b": null}], "c": true, "d": -12})";
  for (size_t n = 0; n < text.size(); ++n)
    EXPECT_TRUE(parse_error(text.substr(0, n)).starts_with("[t] f: line 1, column ")) << n;
}

TEST(JsonParse, FlippedBytesNeverCrash) {
  const std::string text =
      R"({"model": {"vocab": {"a": 1, "b\n": 2}, "merges": [["a", "b"], "c d"]}, "x": [1e-3, -7, true, null]})";
  const RngStream stream(1, 0, "flips");
  int n_errors = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string damaged = text;
    for (int flip = 0; flip <= round % 3; ++flip)
      damaged[stream.below(text.size(), round, 2 * flip)] =
          static_cast<char>(stream.bits(round, 2 * flip + 1));
    const std::string error = parse_error(damaged);
    n_errors += error.empty() ? 0 : 1;
    ASSERT_EQ(error.find('\n'), std::string::npos) << "an error is one line";
  }
  EXPECT_GT(n_errors, 10'000);
}

TEST(JsonRead, AMissingFileSaysSo) {
  EXPECT_EQ(error_of([] { read_json("/nowhere/config.json", "[config.json]"); }),
            "[fs] /nowhere/config.json does not exist");
}

TEST(JsonRead, AFileIsParsed) {
  const TempFolder folder;
  write_file_atomic(real_fs(), folder / "a.json", "{\"a\": 1}\n");
  EXPECT_EQ(to_json_line(read_json(folder / "a.json", "[t]")), "{\"a\": 1}");
}

TEST(JsonWrite, DoublesRoundTripAndStayDoubles) {
  const RngStream stream(5, 0, "doubles");
  for (int i = 0; i < 20'000; ++i) {
    const double value = std::bit_cast<double>(stream.bits(i, 0));
    if (!std::isfinite(value)) continue;
    const Json back = parse_json(to_json_line(Json(value)), "[t]");
    ASSERT_TRUE(back.is_double());
    ASSERT_EQ(std::bit_cast<uint64_t>(back.get_double()), std::bit_cast<uint64_t>(value));
  }
  EXPECT_EQ(to_json_line(Json{1.0, 0.1, 1e-7, 1e300, -0.0}), "[1.0, 0.1, 1e-07, 1e+300, -0.0]");
}

TEST(JsonWrite, NonFiniteNumbersBecomeNull) {
  EXPECT_EQ(to_json_line(Json{std::nan(""), std::numeric_limits<double>::infinity()}),
            "[null, null]");
}

TEST(JsonWrite, EveryByteStringBecomesValidJson) {
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  const std::string line = to_json_line(Json(boost::json::string_view(all.data(), all.size())));
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const std::string back =
      parse_json(line, "[t]").as_string().c_str() + 1;  // the first is a zero byte
  EXPECT_EQ(back.substr(0, 127), all.substr(1, 127));
}

TEST(JsonWrite, PrettyTextIsIndentedByTwo) {
  EXPECT_EQ(to_json_pretty(parse_json(R"({"a": [1, {}], "b": {"c": []}})", "[t]")),
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": {\n    \"c\": []\n  }\n}\n");
}

TEST(JsonReader, FieldsAreReadByType) {
  const Json value = parse_json(
      R"({"i": 3, "f": 2.0, "x": 0.5, "b": true, "s": "t", "n": null, "big": 1e19})", "[t]");
  const JsonReader reader(value.as_object(), "[t] f");
  EXPECT_EQ(reader.integer("i"), 3);
  EXPECT_EQ(reader.integer("f"), 2);
  EXPECT_EQ(reader.number("i"), 3.0);
  EXPECT_EQ(reader.number("x"), 0.5);
  EXPECT_TRUE(reader.boolean("b"));
  EXPECT_EQ(reader.string("s"), "t");
  EXPECT_FALSE(reader.has("n"));
  EXPECT_FALSE(reader.has("absent"));
  EXPECT_EQ(reader.integer_or("n", 7), 7);
  EXPECT_EQ(reader.number_or("absent", 0.25), 0.25);
  EXPECT_TRUE(reader.boolean_or("absent", true));
  EXPECT_EQ(reader.string_or("absent", "z"), "z");
}

TEST(JsonReader, AWrongTypeNamesTheFieldAndWhatItHolds) {
  const Json value =
      parse_json(R"({"i": 3.5, "s": "t\u001b", "big": 1e19, "u": 18446744073709551615})", "[t]");
  const JsonReader reader(value.as_object(), "[t] f");
  EXPECT_EQ(error_of([&] { reader.integer("i"); }),
            "[t] f: field \"i\" must be an integer within 64 bits, found the number 3.5");
  EXPECT_EQ(error_of([&] { reader.number("s"); }),
            "[t] f: field \"s\" must be a number, found the string \"t\\x1B\"");
  EXPECT_NE(error_of([&] { reader.integer("big"); }), "");
  EXPECT_NE(error_of([&] { reader.integer("u"); }), "");
  EXPECT_EQ(error_of([&] { reader.integer("absent"); }), "[t] f: field \"absent\" is missing");
  EXPECT_NE(error_of([&] { reader.integer_or("s", 1); }), "") << "a default hides no wrong type";
}

}  // namespace
}  // namespace moe
