// SPDX-License-Identifier: MIT
// Heat maps as SVG and on a terminal.
#include "moe/report/heat_map.h"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>

#include "moe/base/error.h"
#include "moe/report/display_width.h"
#include "moe/report/palette.h"

#include "xml_check.h"

namespace moe {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN(),
                 kInf = std::numeric_limits<double>::infinity();

HeatMap two_by_three() {
  return {.title = "load",
          .row_label = "layer",
          .column_label = "expert",
          .rows = {"0", "1"},
          .columns = {"a", "b", "c"},
          .values = {{0, 0.5, 1}, {2, 1.5, 1}}};
}

HeatMap sized(int n_rows, int n_columns) {
  HeatMap map{.title = "t",
              .row_label = "layer",
              .column_label = "expert",
              .rows = {},
              .columns = {},
              .values = {}};
  for (int i = 0; i < n_rows; ++i) {
    map.rows.push_back(str(i));
    map.values.emplace_back();
    for (int j = 0; j < n_columns; ++j) map.values.back().push_back(i + j);
  }
  for (int j = 0; j < n_columns; ++j) map.columns.push_back(str(j));
  return map;
}

std::string one(const HeatMap& map) { return heat_maps("", std::vector<HeatMap>{map}); }

TEST(FormatValue, FixedDecimalsAndPercent) {
  EXPECT_EQ(format_value(0.125, {.decimals = 1}), "0.1");
  EXPECT_EQ(format_value(12, {.decimals = 0}), "12");
  EXPECT_EQ(format_value(0.256, {.decimals = 0, .percent = true}), "26%");
  EXPECT_EQ(format_value(-0.001, {}), "0.00");
  EXPECT_EQ(format_value(-1.5, {.decimals = 1}), "-1.5");
}

TEST(FormatValue, HugeValuesAndNonNumbersStayShort) {
  EXPECT_EQ(format_value(1e300, {}), "1.0e+300");
  EXPECT_EQ(format_value(kNan, {}), "nan");
  EXPECT_EQ(format_value(kInf, {}), "inf");
  EXPECT_EQ(format_value(-kInf, {.percent = true}), "-inf");
}

TEST(HeatScale, StartsAtZeroUnlessAValueIsNegative) {
  HeatMap map = two_by_three();
  EXPECT_EQ(heat_scale(map).min, 0);
  EXPECT_EQ(heat_scale(map).max, 2);
  map.values[0][0] = -1;
  EXPECT_EQ(heat_scale(map).min, -1);
  map.min = 0.5, map.max = 1.5;
  EXPECT_EQ(heat_scale(map).fraction(0), 0);
  EXPECT_EQ(heat_scale(map).fraction(1), 0.5);
  EXPECT_EQ(heat_scale(map).fraction(9), 1);
}

TEST(HeatScale, AnyValuesGiveAnIncreasingFiniteScale) {
  for (const auto& row : {std::vector<double>{0, 0, 0}, std::vector<double>{kNan, kInf, -kInf},
                          std::vector<double>{-1e308, 0, 1e308}, std::vector<double>{-7, -7, -7},
                          std::vector<double>{5e-324, 0, 0}}) {
    HeatMap map = two_by_three();
    map.values = {row, row};
    const HeatScale scale = heat_scale(map);
    EXPECT_LT(scale.min, scale.max);
    EXPECT_TRUE(std::isfinite(scale.min) && std::isfinite(scale.max));
    for (const double value : {scale.min, scale.max, 0.0, 1e308}) {
      EXPECT_GE(scale.fraction(value), 0);
      EXPECT_LE(scale.fraction(value), 1);
    }
    EXPECT_EQ(xml_error(one(map)), "");
  }
}

TEST(HeatScale, RefusesEndsThatAreNotUsable) {
  HeatMap map = two_by_three();
  map.max = kInf;
  EXPECT_THROW(one(map), Error);
}

TEST(HeatMap, EveryCellHasItsColorItsValueAndAHover) {
  const std::string svg = one(two_by_three());
  EXPECT_EQ(xml_error(svg), "");
  EXPECT_EQ(count(svg, "<title>layer "), 6);
  EXPECT_THAT(svg, HasSubstr("fill=\"#440154\"><title>layer 0, expert a: 0.00</title>"));
  EXPECT_THAT(svg, HasSubstr("fill=\"#fde725\"><title>layer 1, expert a: 2.00</title>"));
  EXPECT_THAT(svg, HasSubstr(">1.50</text>"));
}

TEST(HeatMap, MissingValuesAreGrey) {
  HeatMap map = two_by_three();
  map.values[0][1] = kNan;
  const std::string svg = one(map);
  EXPECT_EQ(xml_error(svg), "");
  EXPECT_THAT(svg,
              HasSubstr(str("fill=\"", hex(kNoValue), "\"><title>layer 0, expert b: nan</title>")));
}

TEST(HeatMap, SmallCellsHaveNoPrintedNumbersButKeepTheHover) {
  const std::string svg = one(sized(4, 200));
  EXPECT_EQ(xml_error(svg), "");
  EXPECT_EQ(count(svg, "<title>layer "), 800);
  EXPECT_THAT(svg, Not(HasSubstr(">100.00</text>")));
  EXPECT_LT(count(svg, "<text"), 80);  // labels are thinned
}

TEST(HeatMap, LongColumnNamesAreSlanted) {
  HeatMap map = sized(2, 20);
  EXPECT_THAT(one(map), Not(HasSubstr("rotate(-45")));
  for (std::string& column : map.columns) column = "a long name " + column;
  EXPECT_EQ(count(one(map), "rotate(-45"), 20);
}

TEST(HeatMap, HostileTextIsEscapedEverywhere) {
  HeatMap map = two_by_three();
  const std::string hostile = "<script>\"'&\x01\xff";
  map.title = map.row_label = map.column_label = map.caption = map.rows[0] = map.columns[2] =
      hostile;
  const std::string svg = heat_maps(hostile, std::vector<HeatMap>{map, map});
  EXPECT_EQ(xml_error(svg), "");
  EXPECT_THAT(svg, Not(HasSubstr("<script")));
}

TEST(HeatMap, PanelsStackOrStandSideBySide) {
  const std::vector<HeatMap> panels{two_by_three(), two_by_three()};
  const auto size = [](const std::string& svg) {
    double width = 0, height = 0;
    EXPECT_EQ(std::sscanf(svg.c_str() + svg.find(" width="), " width=\"%lf\" height=\"%lf\"",
                          &width, &height),
              2);
    return std::pair(width, height);
  };
  const auto [stacked_width, stacked_height] = size(heat_maps("t", panels, Arrangement::stacked));
  const auto [beside_width, beside_height] =
      size(heat_maps("t", panels, Arrangement::side_by_side));
  EXPECT_GT(stacked_height, beside_height);
  EXPECT_LT(stacked_width, beside_width);
  EXPECT_EQ(xml_error(heat_maps("t", panels, Arrangement::side_by_side)), "");
}

TEST(HeatMap, NoPanelsAndNoCellsAreWellFormed) {
  EXPECT_EQ(xml_error(heat_maps("t", {})), "");
  const std::string svg = one(HeatMap{
      .title = "t", .row_label = "", .column_label = "", .rows = {}, .columns = {}, .values = {}});
  EXPECT_EQ(xml_error(svg), "");
  EXPECT_THAT(svg, HasSubstr("no data"));
}

TEST(HeatMap, RefusesValuesThatDoNotMatchTheLabels) {
  HeatMap map = two_by_three();
  map.values[1].pop_back();
  EXPECT_THROW(one(map), Error);
  EXPECT_THROW(terminal_heat_map(map, {}), Error);
  map.values.pop_back();
  EXPECT_THROW(one(map), Error);
}

TEST(TerminalHeatMap, WithoutColorIsExactlyThis) {
  HeatMap map = two_by_three();
  map.caption = "1 = fair";
  EXPECT_EQ(terminal_heat_map(map, {.color = false, .width = 80}),
            "load\n"
            "rows: layer, columns: expert\n"
            "       a       b       c\n"
            "0 0.00    0.50 :  1.00 o\n"
            "1 2.00 @  1.50 O  1.00 o\n"
            "  0.00 [ .:;oxO#@] 2.00\n"
            "1 = fair\n");
}

TEST(TerminalHeatMap, WithColorPaintsEveryCellAndResets) {
  const std::string text = terminal_heat_map(two_by_three(), {.color = true, .width = 80});
  EXPECT_THAT(text,
              HasSubstr("\x1b[48;5;53m\x1b[38;5;231m 0.00 \x1b[0m"));  // dark ground, white ink
  EXPECT_THAT(text,
              HasSubstr("\x1b[48;5;220m\x1b[38;5;16m 2.00 \x1b[0m"));  // light ground, black ink
  EXPECT_EQ(count(text, "\x1b[48;5;"), count(text, "\x1b[0m"));
  EXPECT_EQ(count(text, "\x1b[48;5;"), 6 + 9);  // the cells and the scale
}

std::string without_escapes(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b')
      i = text.find('m', i);
    else
      out += text[i];
  }
  return out;
}

TEST(TerminalHeatMap, LinesFitTheTerminal) {
  HeatMap named = sized(3, 5);
  for (std::string& column : named.columns) column = "key-value recall " + column;
  for (const HeatMap& map : {sized(6, 8), sized(6, 128), named}) {
    for (const bool color : {false, true}) {
      for (const int width : {20, 40, 80, 200}) {
        for (const std::string& line : split(
                 without_escapes(terminal_heat_map(map, {.color = color, .width = width})), '\n')) {
          if (starts_with(line, "rows: ") || line.find('[') != std::string::npos)
            continue;  // prose, not the map
          ASSERT_LE(display_width(line), width) << line;
        }
      }
    }
  }
}

TEST(TerminalHeatMap, WithoutRoomForNumbersShadesWrapIntoBlocks) {
  const std::string text = terminal_heat_map(sized(2, 12), {.color = false, .width = 10});
  EXPECT_EQ(text,
            "t\n"
            "rows: layer, columns: expert\n"
            "  0 2 4 6\n"
            "0   .:;;ox\n"
            "1  .:;;oxO\n"
            "  8 10\n"
            "0 OO#@\n"
            "1 O#@@\n"
            "  0.00 [ .:;oxO#@] 12.00\n");
}

TEST(TerminalHeatMap, MissingValuesAreQuestionMarks) {
  HeatMap map = two_by_three();
  map.values[0] = {kNan, kInf, 1};
  EXPECT_THAT(terminal_heat_map(map, {.color = false, .width = 80}),
              HasSubstr("0  nan ?   inf ?  1.00 o\n"));
  EXPECT_THAT(terminal_heat_map(map, {.color = false, .width = 6}), HasSubstr("0 ??o"));
}

TEST(TerminalHeatMap, LabelsCannotSendEscapes) {
  HeatMap map = two_by_three();
  const std::string hostile = "\x1b]0;owned\x07\r\n\xff";
  map.title = map.row_label = map.column_label = map.caption = map.rows[0] = map.columns[1] =
      hostile;
  const std::string text = terminal_heat_map(map, {.color = false, .width = 80});
  for (const char c : text)
    ASSERT_TRUE(c == '\n' || (c >= ' ' && c <= '~')) << testing::PrintToString(text);
}

}  // namespace
}  // namespace moe
