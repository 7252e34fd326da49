// SPDX-License-Identifier: MIT
#include "moe/report/line_chart.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "moe/base/error.h"
#include "moe/report/axis.h"
#include "moe/report/display_width.h"
#include "moe/report/svg.h"

namespace moe {
namespace {

constexpr double kPad = 20, kTickSize = 11, kLabelSize = 12, kTitleSize = 16, kLegendSize = 12;
constexpr double kLegendRow = 20, kLegendSwatch = 22;
constexpr int kMaxLegendEntries = 24, kMaxNameColumns = 40;

// A series with its colour and dash settled, and its points cut at the gaps.
struct DrawnSeries {
  const Series* series;
  Rgb color;
  std::string dash;
  std::vector<std::vector<Point>> pieces;  // in data coordinates, each of at least one point
};

struct Drawing {
  std::vector<DrawnSeries> series;
  double x_low = INFINITY, x_high = -INFINITY, y_low = INFINITY, y_high = -INFINITY;
  bool integer_x = true;
  int64_t n_points = 0, n_left_out = 0;
};

Drawing collect(const LineChart& chart) {
  static constexpr std::array<const char*, 3> kDashes{"", "7 4", "2 4"};
  Drawing drawing;
  int next_color = 0;
  for (const Series& series : chart.series) {
    MOE_CHECK(series.xs.size() == series.ys.size(), "[line_chart] series '", printable(series.name),
              "' has ", series.xs.size(), " xs but ", series.ys.size(), " ys");
    const int color = series.color >= 0 ? series.color : next_color++;
    DrawnSeries drawn{&series,
                      series_color(color),
                      kDashes[static_cast<size_t>(color / kSeriesColors) % kDashes.size()],
                      {}};
    bool in_gap = true;
    for (size_t i = 0; i < series.xs.size(); ++i) {
      const double x = series.xs[i], y = series.ys[i];
      if (!is_drawable(x, chart.log_x) || !is_drawable(y, chart.log_y)) {
        in_gap = true;
        ++drawing.n_left_out;
        continue;
      }
      if (in_gap) drawn.pieces.emplace_back();
      in_gap = false;
      drawn.pieces.back().push_back({x, y});
      ++drawing.n_points;
      drawing.x_low = std::min(drawing.x_low, x), drawing.x_high = std::max(drawing.x_high, x);
      drawing.y_low = std::min(drawing.y_low, y), drawing.y_high = std::max(drawing.y_high, y);
      drawing.integer_x = drawing.integer_x && x == std::floor(x);
    }
    drawing.series.push_back(std::move(drawn));
  }
  return drawing;
}

struct LegendEntry {
  const DrawnSeries* drawn;  // null: the line that says how many are not listed
  std::string text;
  Point at;
};

// Entries flow left to right in rows; at.y is the row's number times kLegendRow.
std::vector<LegendEntry> lay_out_legend(const Drawing& drawing, double width) {
  std::vector<LegendEntry> entries;
  for (const DrawnSeries& drawn : drawing.series)
    if (!drawn.series->name.empty())
      entries.push_back({&drawn, shorten(drawn.series->name, kMaxNameColumns), {0, 0}});
  if (entries.size() > kMaxLegendEntries) {
    const size_t n_more = entries.size() - (kMaxLegendEntries - 1);
    entries.resize(kMaxLegendEntries - 1);
    entries.push_back({nullptr, str("and ", n_more, " more"), {0, 0}});
  }
  double x = 0, y = 0;
  for (LegendEntry& entry : entries) {
    const double entry_width = kLegendSwatch + 6 + text_width_px(entry.text, kLegendSize) + 14;
    if (x > 0 && x + entry_width > width) x = 0, y += kLegendRow;
    entry.at = {x, y};
    x += entry_width;
  }
  return entries;
}

// Keeps the first, lowest, highest and last point of each run within half a pixel: what the eye
// sees stays.
std::vector<Point> thin(const std::vector<Point>& points) {
  if (points.size() <= 4) return points;
  std::vector<Point> kept;
  for (size_t begin = 0; begin < points.size();) {
    const double column = std::floor(2 * points[begin].x);
    size_t end = begin, low = begin, high = begin;
    for (; end < points.size() && std::floor(2 * points[end].x) == column; ++end) {
      if (points[end].y < points[low].y) low = end;
      if (points[end].y > points[high].y) high = end;
    }
    std::array<size_t, 4> order{begin, std::min(low, high), std::max(low, high), end - 1};
    for (size_t i = 0; i < order.size(); ++i)
      if (i == 0 || order[i] != order[i - 1]) kept.push_back(points[order[i]]);
    begin = end;
  }
  return kept;
}

struct Frame {
  double left, top, right, bottom;
  Axis x, y;
  Point place(Point p) const {
    return {left + x.fraction(p.x) * (right - left), bottom - y.fraction(p.y) * (bottom - top)};
  }
};

void draw_axes(Svg& svg, const Frame& frame, const LineChart& chart) {
  const SvgStyle grid{.stroke = hex(kGridLine)};
  for (const Tick& tick : frame.y.ticks) {
    const double y = frame.place({frame.x.low, tick.value}).y;
    svg.line({frame.left, y}, {frame.right, y}, grid);
    svg.text({frame.left - 8, y + 4}, tick.label,
             {.size_px = kTickSize, .color = kMutedInk, .anchor = SvgAnchor::end});
  }
  for (const Tick& tick : frame.x.ticks) {
    const double x = frame.place({tick.value, frame.y.low}).x;
    svg.line({x, frame.top}, {x, frame.bottom}, grid);
    svg.text({x, frame.bottom + 18}, tick.label,
             {.size_px = kTickSize, .color = kMutedInk, .anchor = SvgAnchor::middle});
  }
  const SvgStyle axis{.stroke = hex(kMutedInk)};
  svg.line({frame.left, frame.bottom}, {frame.right, frame.bottom}, axis);
  svg.line({frame.left, frame.top}, {frame.left, frame.bottom}, axis);
  svg.text({(frame.left + frame.right) / 2, frame.bottom + 38}, chart.x_label,
           {.size_px = kLabelSize, .anchor = SvgAnchor::middle});
  svg.text({kPad + 4, (frame.top + frame.bottom) / 2}, chart.y_label,
           {.size_px = kLabelSize, .anchor = SvgAnchor::middle, .rotate_degrees = -90});
}

void draw_series(Svg& svg, const Frame& frame, const DrawnSeries& drawn) {
  const bool bold = drawn.series->weight == Series::Weight::bold;
  const SvgStyle line{.stroke = hex(drawn.color),
                      .stroke_width = bold ? 2.0 : 1.0,
                      .opacity = bold ? 1 : 0.35,
                      .dash = drawn.dash};
  const SvgStyle dot{.fill = hex(drawn.color), .opacity = line.opacity};
  for (const std::vector<Point>& piece : drawn.pieces) {
    std::vector<Point> placed;
    for (const Point& point : piece) placed.push_back(frame.place(point));
    placed = thin(placed);
    if (placed.size() == 1)
      svg.circle(placed[0], bold ? 3 : 2, dot,
                 str(drawn.series->name, drawn.series->name.empty() ? "" : ": ", piece[0].y));
    else
      svg.polyline(placed, line, drawn.series->name);
  }
}

void draw_legend(Svg& svg, const std::vector<LegendEntry>& entries, Point corner) {
  for (const LegendEntry& entry : entries) {
    const double x = corner.x + entry.at.x, y = corner.y + entry.at.y;
    if (entry.drawn != nullptr) {
      const bool bold = entry.drawn->series->weight == Series::Weight::bold;
      svg.line({x, y - 4}, {x + kLegendSwatch, y - 4},
               {.stroke = hex(entry.drawn->color),
                .stroke_width = bold ? 3.0 : 1.5,
                .opacity = bold ? 1 : 0.5,
                .dash = entry.drawn->dash});
    }
    svg.text({x + kLegendSwatch + 6, y}, entry.text, {.size_px = kLegendSize});
  }
}

}  // namespace

std::string line_chart(const LineChart& chart) {
  MOE_CHECK(chart.width_px >= 240 && chart.height_px >= 200, "[line_chart] size is ",
            chart.width_px, " x ", chart.height_px, " pixels, must be at least 240 x 200");
  const Drawing drawing = collect(chart);
  const bool empty = drawing.n_points == 0;
  const double width = chart.width_px;
  const std::vector<LegendEntry> legend = lay_out_legend(drawing, width - 2 * kPad);
  const double legend_height = legend.empty() ? 0 : legend.back().at.y + kLegendRow;
  const double title_height = chart.title.empty() ? 0 : 26;
  const double note_height = drawing.n_left_out == 0 ? 0 : 18;
  // A tall legend makes the picture taller instead of the plot smaller.
  const double height = chart.height_px + std::max(0.0, legend_height - kLegendRow);

  Frame frame{};
  frame.top = kPad + title_height + legend_height + (legend_height > 0 ? 10 : 0);
  frame.bottom = height - kPad - 22 - (chart.x_label.empty() ? 0 : 20) - note_height;
  frame.y = make_axis(
      empty ? 1 : drawing.y_low, empty ? 1 : drawing.y_high,
      {.log = chart.log_y,
       .extend = true,
       .target_ticks = std::clamp(static_cast<int>((frame.bottom - frame.top) / 50), 2, 8)});
  if (empty) frame.y.ticks.clear();
  double tick_width = 0;
  for (const Tick& tick : frame.y.ticks)
    tick_width = std::max(tick_width, text_width_px(tick.label, kTickSize));
  frame.left = kPad + (chart.y_label.empty() ? 0 : 20) + tick_width + 8;
  frame.right = width - kPad - 8;  // half a tick label may stand out on the right
  frame.x = make_axis(
      empty ? 1 : drawing.x_low, empty ? 1 : drawing.x_high,
      {.log = chart.log_x,
       .integer = drawing.integer_x,
       .target_ticks = std::clamp(static_cast<int>((frame.right - frame.left) / 90), 2, 10)});
  if (empty) frame.x.ticks.clear();

  Svg svg(width, height, chart.title);
  const int title_columns = static_cast<int>((width - 2 * kPad) / text_width_px("0", kTitleSize));
  svg.text({kPad, kPad + 14}, shorten(chart.title, title_columns),
           {.size_px = kTitleSize, .bold = true});
  draw_legend(svg, legend, {kPad, kPad + title_height + 13});
  draw_axes(svg, frame, chart);
  for (const Series::Weight weight : {Series::Weight::faint, Series::Weight::bold})
    for (const DrawnSeries& drawn : drawing.series)
      if (drawn.series->weight == weight) draw_series(svg, frame, drawn);
  if (empty)
    svg.text({(frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2}, "no data",
             {.size_px = 14, .color = kMutedInk, .anchor = SvgAnchor::middle});
  if (drawing.n_left_out > 0)
    svg.text({kPad, height - kPad + 6},
             str(drawing.n_left_out, drawing.n_left_out == 1 ? " point" : " points",
                 " not drawn (not finite",
                 chart.log_x || chart.log_y ? ", or not positive on a logarithmic axis)" : ")"),
             {.size_px = kTickSize, .color = kMutedInk});
  return svg.finish();
}

std::vector<double> smooth(std::span<const double> ys, double weight) {
  MOE_CHECK(weight >= 0 && weight < 1, "[smooth] weight is ", weight, ", must be in [0, 1)");
  std::vector<double> out;
  out.reserve(ys.size());
  double average = 0, remaining_bias = 1;
  for (const double y : ys) {
    if (!std::isfinite(y)) {
      out.push_back(y);
      continue;
    }
    average = weight * average + (1 - weight) * y;
    remaining_bias *= weight;
    out.push_back(average / (1 - remaining_bias));
  }
  return out;
}

std::vector<Series> raw_and_smoothed(const std::string& name, std::vector<double> xs,
                                     std::vector<double> ys, int color) {
  const double weight = 1.8 * (1 / (1 + std::exp(-0.05 * static_cast<double>(ys.size()))) - 0.5);
  std::vector<double> smoothed = smooth(ys, weight);
  return {
      {.name = "", .xs = xs, .ys = std::move(ys), .weight = Series::Weight::faint, .color = color},
      {.name = name, .xs = std::move(xs), .ys = std::move(smoothed), .color = color}};
}

}  // namespace moe
