// SPDX-License-Identifier: MIT
// The SVG builder, escaping, UTF-8 walking and the palette.
#include "moe/report/svg.h"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>

#include "moe/base/error.h"
#include "moe/base/utf8.h"
#include "moe/report/display_width.h"
#include "moe/report/escape.h"

#include "xml_check.h"

namespace moe {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(XmlCheck, FindsEachKindOfFault) {  // the judge of the other tests is judged first
  EXPECT_EQ(xml_error("<a x=\"1\"><b/>t &amp; u</a>\n"), "");
  for (const char* bad :
       {"", "<a>", "</a>", "<a></b>", "<a/><b/>", "<a x=1/>", "<a x=\"1\" x=\"2\"/>", "<a>&</a>",
        "<a x=\"<\"/>", "<a>\x01</a>", "<a>\xff</a>", "text", "<a/>text", "<a x=\"1/>"})
    EXPECT_NE(xml_error(bad), "") << bad;
}

TEST(Escape, MarkupCharactersBecomeReferences) {
  EXPECT_EQ(escape_markup("<script a='1' b=\"2\">&amp;"),
            "&lt;script a=&#39;1&#39; b=&quot;2&quot;&gt;&amp;amp;");
}

TEST(Escape, WhatXmlForbidsBecomesReplacementCharacters) {
  const std::string r = "\xef\xbf\xbd";
  EXPECT_EQ(escape_markup(std::string("a\0b", 3)), "a" + r + "b");
  EXPECT_EQ(escape_markup("\x1b[31m\x7f"), r + "[31m" + r);
  EXPECT_EQ(escape_markup("\xc2\x85"), r);                       // U+0085, a C1 control
  EXPECT_EQ(escape_markup("\xef\xbf\xbe"), r);                   // U+FFFE
  EXPECT_EQ(escape_markup("\xed\xa0\x80"), r + r + r);           // a surrogate in CESU style
  EXPECT_EQ(escape_markup("\xc0\xbcscript"), r + r + "script");  // an overlong "<"
  EXPECT_EQ(escape_markup("cut \xe2\x82"), "cut " + r + r);
}

TEST(Escape, TextAndLineBreaksPass) {
  EXPECT_EQ(escape_markup("größe\t专家\n😀\r"), "größe\t专家\n😀\r");
}

TEST(Utf8, CodePointsAndTheirSizes) {
  EXPECT_EQ(code_point_at("a", 0).value, U'a');
  const std::string text = "é€😀";
  EXPECT_EQ(code_point_at(text, 0).value, 0xe9u);
  EXPECT_EQ(code_point_at(text, 2).value, 0x20acu);
  EXPECT_EQ(code_point_at(text, 5).value, 0x1f600u);
  EXPECT_EQ(code_point_at(text, 5).size, 4u);
  EXPECT_EQ(code_point_at("\xef\xbf\xbd", 0).value, 0xfffdu);  // a real U+FFFD
}

TEST(Utf8, AgreesWithTheStrictCheckerOnEveryPairAndTripleThatMatters) {
  // All two-byte strings, and three- and four-byte ones over the bytes where rules change.
  const std::string edges = {'\x00', '\x7f', '\x80', '\x8f', '\x90', '\x9f', '\xa0',
                             '\xbf', '\xc0', '\xc1', '\xc2', '\xdf', '\xe0', '\xed',
                             '\xef', '\xf0', '\xf4', '\xf5', '\xff'};
  const auto check = [](const std::string& text) {
    bool valid = true;
    for (size_t i = 0; i < text.size();) {
      const CodePoint point = code_point_at(text, i);
      valid = valid && point.value != kInvalidByte;
      i += point.size;
    }
    ASSERT_EQ(valid, first_invalid_utf8(text) == std::string::npos) << testing::PrintToString(text);
  };
  for (int a = 0; a < 256; ++a)
    for (int b = 0; b < 256; ++b) check({static_cast<char>(a), static_cast<char>(b)});
  for (const char a : edges)
    for (const char b : edges)
      for (const char c : edges) {
        check({a, b, c});
        for (const char d : edges) check({a, b, c, d});
      }
}

TEST(Utf8, WidthCountsColumns) {
  EXPECT_EQ(display_width("abc"), 3);
  EXPECT_EQ(display_width("größe"), 5);
  EXPECT_EQ(display_width("e\xcc\x81"), 1);  // e and a combining acute
  EXPECT_EQ(display_width("专家"), 4);
  EXPECT_EQ(display_width("\x1b\n"), 0);
  EXPECT_EQ(display_width("\xff"), 1);
}

TEST(Utf8, ShortenCutsBetweenCharacters) {
  EXPECT_EQ(shorten("größe", 5), "größe");
  EXPECT_EQ(shorten("größer", 5), "größ…");
  EXPECT_EQ(shorten("专家模型", 4), "专…");  // two wide characters would leave no room for the mark
  EXPECT_EQ(shorten("abcdef", 4, "~"), "abc~");
  EXPECT_EQ(shorten("abc", 1), "…");
  EXPECT_EQ(shorten("", 1), "");
}

TEST(SvgNumber, HasAtMostTwoDecimalsAndNoNegativeZero) {
  EXPECT_EQ(svg_number(1), "1");
  EXPECT_EQ(svg_number(1.5), "1.5");
  EXPECT_EQ(svg_number(100), "100");
  EXPECT_EQ(svg_number(-0.001), "0");
  EXPECT_EQ(svg_number(0.126), "0.13");
  EXPECT_EQ(svg_number(-12.25), "-12.25");
  EXPECT_THROW(svg_number(std::nan("")), Error);
  EXPECT_THROW(svg_number(std::numeric_limits<double>::infinity()), Error);
}

TEST(Svg, ASmallDocumentIsExactlyThis) {
  Svg svg(40, 30, "a < b");
  svg.rect({1, 2}, 3, 4.5, {.fill = "#ff0000", .opacity = 0.5}, "hover & text");
  svg.line({0, 0}, {1, 1}, {.stroke = "#000000", .dash = "2 2"});
  svg.text({5, 6}, "x\"y",
           {.size_px = 9, .anchor = SvgAnchor::end, .bold = true, .rotate_degrees = -90});
  svg.text({5, 6}, "");
  const std::string text = svg.finish();
  EXPECT_EQ(xml_error(text), "");
  EXPECT_EQ(text.substr(text.find("<title>")),
            "<title>a &lt; b</title>\n"
            "<rect x=\"0.5\" y=\"0.5\" width=\"39\" height=\"29\" rx=\"8\" fill=\"#ffffff\" "
            "stroke=\"#c9d1da\"/>\n"
            "<rect x=\"1\" y=\"2\" width=\"3\" height=\"4.5\" fill=\"#ff0000\" opacity=\"0.5\">"
            "<title>hover &amp; text</title></rect>\n"
            "<line x1=\"0\" y1=\"0\" x2=\"1\" y2=\"1\" fill=\"none\" stroke=\"#000000\" "
            "stroke-dasharray=\"2 2\"/>\n"
            "<text x=\"5\" y=\"6\" font-size=\"9\" fill=\"#1f2933\" text-anchor=\"end\" "
            "font-weight=\"600\" "
            "transform=\"rotate(-90 5 6)\">x&quot;y</text>\n"
            "</svg>\n");
  EXPECT_THAT(text, HasSubstr("width=\"40\" height=\"30\" viewBox=\"0 0 40 30\""));
}

TEST(Palette, HeatLuminanceRisesAtEveryStep) {
  // 64 steps: over 255 the rounding to 8 bits makes a few neighbours equal.
  for (int i = 1; i <= 64; ++i)
    ASSERT_GT(relative_luminance(heat_color(i / 64.0)),
              relative_luminance(heat_color((i - 1) / 64.0)))
        << i;
}

TEST(Palette, HeatEndsAndMiddleAreViridis) {
  EXPECT_EQ(hex(heat_color(0)), "#440154");
  EXPECT_EQ(hex(heat_color(0.5)), "#21918c");
  EXPECT_EQ(hex(heat_color(1)), "#fde725");
  EXPECT_EQ(heat_color(-5), heat_color(0));
  EXPECT_EQ(heat_color(5), heat_color(1));
}

TEST(Palette, TextOnEveryHeatColorReachesWcagAaContrast) {
  for (int i = 0; i <= 255; ++i) {
    const Rgb ground = heat_color(i / 255.0);
    const double a = relative_luminance(ground) + 0.05,
                 b = relative_luminance(text_color_on(ground)) + 0.05;
    ASSERT_GE(std::max(a, b) / std::min(a, b), 4.5) << hex(ground);
  }
}

TEST(Palette, SeriesColorsDiffer) {
  for (int i = 0; i < kSeriesColors; ++i)
    for (int j = 0; j < i; ++j) EXPECT_NE(hex(series_color(i)), hex(series_color(j)));
  EXPECT_EQ(series_color(kSeriesColors), series_color(0));
}

}  // namespace
}  // namespace moe
