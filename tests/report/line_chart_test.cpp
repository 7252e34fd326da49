// SPDX-License-Identifier: MIT
// Line charts: ticks, gaps, hostile labels, values of every size.
#include "moe/report/line_chart.h"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>

#include "moe/base/error.h"
#include "moe/report/axis.h"

#include "xml_check.h"

namespace moe {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN(),
                 kInf = std::numeric_limits<double>::infinity();

std::vector<std::string> labels(const Axis& axis) {
  std::vector<std::string> out;
  for (const Tick& tick : axis.ticks) out.push_back(tick.label);
  return out;
}

LineChart chart(std::vector<double> xs, std::vector<double> ys) {
  return {.title = "t",
          .x_label = "step",
          .y_label = "loss",
          .series = {{.name = "s", .xs = std::move(xs), .ys = std::move(ys)}}};
}

TEST(Axis, TicksAreRoundNumbersWithJustEnoughDigits) {
  EXPECT_THAT(labels(make_axis(0, 10, {})), ElementsAre("0", "2", "4", "6", "8", "10"));
  EXPECT_THAT(labels(make_axis(0.9, 2.1, {})),
              ElementsAre("1.0", "1.2", "1.4", "1.6", "1.8", "2.0"));
  EXPECT_THAT(labels(make_axis(-1, 1, {.target_ticks = 4})),
              ElementsAre("-1.0", "-0.5", "0", "0.5", "1.0"));
  EXPECT_THAT(labels(make_axis(0, 50'000, {})),
              ElementsAre("0", "10,000", "20,000", "30,000", "40,000", "50,000"));
  EXPECT_THAT(labels(make_axis(0, 3e6, {})),
              ElementsAre("0", "5e5", "1e6", "1.5e6", "2e6", "2.5e6", "3e6"));
  EXPECT_THAT(labels(make_axis(0, 4e-5, {.target_ticks = 4})),
              ElementsAre("0", "1e-5", "2e-5", "3e-5", "4e-5"));
}

TEST(Axis, IntegerAxisHasNoFractions) {
  EXPECT_THAT(labels(make_axis(1, 3, {.integer = true})), ElementsAre("1", "2", "3"));
  EXPECT_THAT(labels(make_axis(7, 7, {.integer = true})), ElementsAre("6", "7", "8"));
}

TEST(Axis, ExtendedAxisEndsOnTicks) {
  const Axis axis = make_axis(1.13, 5.42, {.extend = true});
  EXPECT_DOUBLE_EQ(axis.low, 1);
  EXPECT_DOUBLE_EQ(axis.high, 5.5);
}

TEST(Axis, LogTicksAreDecadesAndWithinFewDecadesAlsoTwosAndFives) {
  EXPECT_THAT(labels(make_axis(1, 1000, {.log = true})), ElementsAre("1", "10", "100", "1000"));
  EXPECT_THAT(labels(make_axis(1, 20, {.log = true})), ElementsAre("1", "2", "5", "10", "20"));
  EXPECT_THAT(labels(make_axis(1e-9, 1e9, {.log = true})),
              ElementsAre("1e-9", "1e-6", "0.001", "1", "1000", "1e6", "1e9"));
  EXPECT_THAT(labels(make_axis(1.1, 1.4, {.log = true, .target_ticks = 3})),
              ElementsAre("1.1", "1.2", "1.3", "1.4"));
}

TEST(Axis, FractionIsZeroAtLowAndOneAtHigh) {
  for (const bool log : {false, true}) {
    const Axis axis = make_axis(2, 50, {.log = log});
    EXPECT_DOUBLE_EQ(axis.fraction(2), 0);
    EXPECT_DOUBLE_EQ(axis.fraction(50), 1);
  }
  EXPECT_DOUBLE_EQ(make_axis(1, 100, {.log = true}).fraction(10), 0.5);
}

TEST(Axis, AnyDrawableRangeGivesAFewFiniteTicks) {
  const std::vector<double> values{-1e100, -3e38,      -1e6,   -1,     -1e-7, -1e-300, -5e-324,
                                   0,      5e-324,     1e-300, 1e-100, 1e-7,  1,       1 + 1e-15,
                                   1e6,    1e6 + 1e-3, 1e15,   3e38,   1e100};
  for (const bool log : {false, true}) {
    for (const double low : values) {
      for (const double high : values) {
        if (low > high || !is_drawable(low, log) || !is_drawable(high, log)) continue;
        for (const bool extend : {false, true}) {
          const Axis axis = make_axis(low, high, {.log = log, .extend = extend});
          ASSERT_LT(axis.low, axis.high) << low << " " << high << " " << log;
          ASSERT_LE(axis.low, low);
          ASSERT_GE(axis.high, high);
          ASSERT_GE(axis.ticks.size(), 2u) << low << " " << high << " " << log;
          ASSERT_LE(axis.ticks.size(), 20u) << low << " " << high << " " << log;
          for (const Tick& tick : axis.ticks) {
            ASSERT_TRUE(std::isfinite(axis.fraction(tick.value)));
            ASSERT_LE(tick.label.size(), 18u) << tick.label;
          }
        }
      }
    }
  }
}

TEST(LineChart, NeighbouringTicksHaveDifferentLabels) {
  for (const double offset : {0.0, 1.0, 1e6, 1e9}) {
    for (const double span : {1e-6, 0.003, 0.7, 42.0, 1e7}) {
      const std::vector<std::string> all = labels(make_axis(offset, offset + span, {}));
      for (size_t i = 1; i < all.size(); ++i)
        ASSERT_NE(all[i], all[i - 1]) << offset << " + " << span;
    }
  }
}

TEST(LineChart, IsWellFormedWithHostileText) {
  LineChart hostile = chart({1, 2}, {1, 2});
  hostile.title = "<script>alert('x')</script> & \"\x01\xff\"";
  hostile.x_label = "</text><svg onload=\"x\">";
  hostile.y_label = std::string("\0]]>", 4);
  hostile.series[0].name = "<!-- ' -->\n\x1b[31m";
  const std::string svg = line_chart(hostile);
  EXPECT_EQ(xml_error(svg), "");
  EXPECT_THAT(svg, Not(HasSubstr("<script")));
  EXPECT_THAT(svg, HasSubstr("&lt;script&gt;"));
}

TEST(LineChart, TheSameChartGivesTheSameBytes) {
  const LineChart same = chart({1, 2, 3}, {3, 1, 2});
  EXPECT_EQ(line_chart(same), line_chart(same));
}

TEST(LineChart, PointsLandWhereTheAxesSay) {
  // Width 800: right end at 800 - 28 = 772. Three points over steps 0 to 10, y from 0 to 10.
  const std::string svg = line_chart(chart({0, 5, 10}, {0, 10, 0}));
  const size_t begin = svg.find("points=\"") + 8;
  const std::string points = svg.substr(begin, svg.find('"', begin) - begin);
  double x[3], y[3];
  ASSERT_EQ(
      std::sscanf(points.c_str(), "%lf,%lf %lf,%lf %lf,%lf", x, y, x + 1, y + 1, x + 2, y + 2), 6)
      << points;
  EXPECT_DOUBLE_EQ(x[2], 772);
  EXPECT_NEAR(x[1], (x[0] + x[2]) / 2, 0.01);  // two decimals are written
  EXPECT_DOUBLE_EQ(y[0], y[2]);
  EXPECT_LT(y[1], y[0]);  // up is less
}

TEST(LineChart, WithoutAPointSaysSo) {
  for (const LineChart& empty :
       {LineChart{.title = "t", .x_label = "", .y_label = "", .series = {}}, chart({}, {}),
        chart({1, 2}, {kNan, kInf})}) {
    const std::string svg = line_chart(empty);
    EXPECT_EQ(xml_error(svg), "");
    EXPECT_THAT(svg, HasSubstr("no data"));
    EXPECT_EQ(count(svg, "<polyline"), 0);
  }
}

TEST(LineChart, OnePointIsADot) {
  const std::string svg = line_chart(chart({7}, {2.5}));
  EXPECT_EQ(xml_error(svg), "");
  EXPECT_EQ(count(svg, "<circle"), 1);
  EXPECT_THAT(svg, HasSubstr("<title>s: 2.5</title>"));
  EXPECT_THAT(svg, Not(HasSubstr("not drawn")));
}

TEST(LineChart, ValuesThatAreNotFiniteInterruptTheLineAndAreCounted) {
  const std::string svg = line_chart(chart({1, 2, 3, 4, 5, 6, 7}, {1, 2, kNan, 3, kInf, 4, 5}));
  EXPECT_EQ(xml_error(svg), "");
  EXPECT_EQ(count(svg, "<polyline"), 2);
  EXPECT_EQ(count(svg, "<circle"), 1);
  EXPECT_THAT(svg, HasSubstr("2 points not drawn"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf\"")));
}

TEST(LineChart, LogarithmicAxesLeaveOutWhatIsNotPositive) {
  LineChart log = chart({0, 1, 10, 100}, {5, 1, 0, -1});
  log.log_x = log.log_y = true;
  const std::string svg = line_chart(log);
  EXPECT_EQ(xml_error(svg), "");
  EXPECT_THAT(svg,
              HasSubstr("3 points not drawn (not finite, or not positive on a logarithmic axis)"));
}

TEST(LineChart, HugeAndTinyValuesAreDrawn) {
  for (const auto& ys : {std::vector<double>{-3e38, 3e38}, std::vector<double>{1e-300, 2e-300},
                         std::vector<double>{5e-324, 0}, std::vector<double>{-1e100, 1e100}}) {
    const std::string svg = line_chart(chart({-1e15, 1e15}, ys));
    EXPECT_EQ(xml_error(svg), "");
    EXPECT_EQ(count(svg, "<polyline"), 1);
  }
  EXPECT_THAT(line_chart(chart({1, 2}, {1e308, -1e308})), HasSubstr("2 points not drawn"));
}

TEST(LineChart, ALongRunStaysASmallFileAndKeepsItsSpikes) {
  std::vector<double> xs, ys;
  for (int i = 0; i < 200'000; ++i) xs.push_back(i), ys.push_back(1 + 0.001 * (i % 7));
  ys[123'456] = 9;  // the only point above 1.006: it must still touch the top of its column
  const std::string svg = line_chart(chart(xs, ys));
  EXPECT_LT(svg.size(), 100'000u);
  const LineChart flat = chart({0, 199'999}, {9, 1});
  const std::string top = line_chart(flat);  // the same axes, a line from the value 9
  const size_t begin = top.find("points=\"") + 8;
  const std::string y_of_nine =
      top.substr(top.find(',', begin), top.find(' ', begin) - top.find(',', begin));
  EXPECT_THAT(svg, HasSubstr(y_of_nine + " "));
}

TEST(LineChart, FaintLinesLieBelowBoldOnes) {
  LineChart both = chart({1, 2}, {1, 2});
  both.series.push_back({.name = "", .xs = {1, 2}, .ys = {2, 1}, .weight = Series::Weight::faint});
  const std::string svg = line_chart(both);
  EXPECT_LT(svg.find("opacity=\"0.35\""), svg.find("stroke-width=\"2\""));
}

TEST(LineChart, LegendNamesNamedSeriesAndCountsTheRest) {
  LineChart many = chart({1, 2}, {1, 2});
  for (int i = 1; i < 30; ++i)
    many.series.push_back({.name = str("expert ", i), .xs = {1, 2}, .ys = {1, 2}});
  many.series.push_back({.name = "", .xs = {1, 2}, .ys = {1, 2}});
  const std::string svg = line_chart(many);
  EXPECT_EQ(xml_error(svg), "");
  EXPECT_THAT(svg, HasSubstr(">expert 22</text>"));
  EXPECT_THAT(svg, Not(HasSubstr(">expert 23</text>")));
  EXPECT_THAT(svg, HasSubstr(">and 7 more</text>"));
  EXPECT_EQ(count(svg, "<polyline"), 31);
}

TEST(LineChart, RefusesUnequalLengthsAndTinySizes) {
  EXPECT_THROW(line_chart(chart({1, 2}, {1})), Error);
  LineChart tiny = chart({1}, {1});
  tiny.width_px = 10;
  EXPECT_THROW(line_chart(tiny), Error);
}

TEST(Smooth, AConstantStaysConstantFromTheFirstValue) {
  for (const double y : smooth(std::vector<double>(50, 3.0), 0.9))
    EXPECT_NEAR(y, 3, 1e-14);  // a few roundings
}

TEST(Smooth, FollowsTheFormula) {
  // w = 0.5: a = 0.5, 1.25; divided by 1 - 0.5 = 0.5 and 1 - 0.25 = 0.75.
  EXPECT_THAT(smooth(std::vector<double>{1, 2}, 0.5), ElementsAre(1, 1.25 / 0.75));
  EXPECT_THAT(smooth(std::vector<double>{1, 2}, 0), ElementsAre(1, 2));
}

TEST(Smooth, ANanDoesNotPoisonTheRest) {
  const std::vector<double> with = smooth(std::vector<double>{1, kNan, 2}, 0.5);
  EXPECT_TRUE(std::isnan(with[1]));
  EXPECT_DOUBLE_EQ(with[2], 1.25 / 0.75);
}

TEST(Smooth, RefusesAWeightOfOne) { EXPECT_THROW(smooth(std::vector<double>{1}, 1), Error); }

TEST(Smooth, RawAndSmoothedShareAColorAndOneName) {
  const std::vector<Series> pair = raw_and_smoothed("loss", {1, 2, 3}, {3, 1, 2}, 4);
  ASSERT_EQ(pair.size(), 2u);
  EXPECT_EQ(pair[0].name, "");
  EXPECT_EQ(pair[0].weight, Series::Weight::faint);
  EXPECT_THAT(pair[0].ys, ElementsAre(3, 1, 2));
  EXPECT_EQ(pair[1].name, "loss");
  EXPECT_EQ(pair[1].weight, Series::Weight::bold);
  EXPECT_EQ(pair[0].color, pair[1].color);
}

}  // namespace
}  // namespace moe
