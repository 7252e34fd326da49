// SPDX-License-Identifier: MIT
#include "moe/report/heat_map.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "moe/base/error.h"
#include "moe/report/display_width.h"
#include "moe/report/svg.h"

namespace moe {

std::string format_value(double value, ValueFormat format) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  const double shown = format.percent ? 100 * value : value;
  const char* unit = format.percent ? "%" : "";
  if (std::abs(shown) >= 1e7) return fmt::format("{:.1e}{}", shown, unit);
  std::string out = fmt::format("{:.{}f}", shown, std::clamp(format.decimals, 0, 9));
  if (out[0] == '-' && out.find_first_not_of("-0.") == std::string::npos) out.erase(0, 1);
  return out + unit;
}

void check_heat_map(const HeatMap& map) {
  MOE_CHECK(map.values.size() == map.rows.size(), "[heat_map] '", printable(map.title), "' has ",
            map.values.size(), " rows of values for ", map.rows.size(), " row labels");
  for (size_t i = 0; i < map.rows.size(); ++i)
    MOE_CHECK(map.values[i].size() == map.columns.size(), "[heat_map] '", printable(map.title),
              "': row ", i, " has ", map.values[i].size(), " values for ", map.columns.size(),
              " column labels");
}

HeatScale heat_scale(const HeatMap& map) {
  double low = INFINITY, high = -INFINITY;
  for (const std::vector<double>& row : map.values) {
    for (const double value : row) {
      if (!std::isfinite(value)) continue;
      low = std::min(low, value), high = std::max(high, value);
    }
  }
  if (low > high) low = high = 0;  // no value at all
  // Well within double, so that differences neither overflow nor vanish.
  constexpr double kLargest = 1e100, kSmallestSpan = 1e-100;
  HeatScale scale{map.min.value_or(std::clamp(std::min(low, 0.0), -kLargest, kLargest)),
                  map.max.value_or(std::clamp(high, -kLargest, kLargest))};
  MOE_CHECK(std::abs(scale.min) <= kLargest && std::abs(scale.max) <= kLargest, "[heat_map] '",
            printable(map.title), "': the scale goes from ", scale.min, " to ", scale.max,
            ", must be within 1e100");
  if (!(scale.max - scale.min > kSmallestSpan))
    scale.max = scale.min + std::max(1.0, std::abs(scale.min));
  return scale;
}

double HeatScale::fraction(double value) const {
  return std::clamp((value - min) / (max - min), 0.0, 1.0);
}

namespace {

constexpr double kPad = 20, kTextSize = 11, kPanelTitleSize = 13, kTitleSize = 16;
constexpr double kLabelLeading = 14;  // height of a line of labels
constexpr double kBarWidth = 12, kBarGap = 16;
constexpr double kPanelGap = 28;
constexpr int kMaxLabelColumns = 28;

// Where the parts of one panel go, relative to its corner.
struct PanelLayout {
  const HeatMap* map;
  HeatScale scale;
  double cell_width, cell_height;
  double grid_left, grid_top, width, height;
  bool rotate_columns;            // labels at 45 degrees below the grid
  int column_stride, row_stride;  // every so many labels
  double column_labels_height;
  double grid_width() const { return cell_width * static_cast<double>(map->columns.size()); }
  double grid_height() const { return cell_height * static_cast<double>(map->rows.size()); }
};

double widest(const std::vector<std::string>& labels) {
  double width = 0;
  for (const std::string& label : labels)
    width = std::max(width, text_width_px(shorten(label, kMaxLabelColumns), kTextSize));
  return width;
}

bool all_numbers(const std::vector<std::string>& labels) {
  return std::all_of(labels.begin(), labels.end(), [](const std::string& label) {
    return !label.empty() && label.find_first_not_of("0123456789") == std::string::npos;
  });
}

PanelLayout lay_out(const HeatMap& map) {
  check_heat_map(map);
  PanelLayout out{};
  out.map = &map;
  out.scale = heat_scale(map);
  const double n_columns = std::max<double>(1, static_cast<double>(map.columns.size()));
  const double n_rows = std::max<double>(1, static_cast<double>(map.rows.size()));
  constexpr double kGridWidth = 720;  // what a grid may take before its cells shrink
  out.cell_width = std::clamp(std::floor(kGridWidth / n_columns), 3.0, 52.0);
  out.cell_height = std::clamp(std::floor(900 / n_rows), 3.0, 26.0);
  // Few columns with long names: wider cells, if that is enough to write the names level.
  const double column_text = widest(map.columns);
  if (column_text + 8 > out.cell_width && (column_text + 8) * n_columns <= kGridWidth)
    out.cell_width = std::ceil(column_text + 8);
  const bool level = column_text + 4 <= out.cell_width || all_numbers(map.columns);
  out.rotate_columns = !level;
  const double column_space = level ? column_text + 4 : kLabelLeading;
  out.column_stride = std::max(1, static_cast<int>(std::ceil(column_space / out.cell_width)));
  out.row_stride = std::max(1, static_cast<int>(std::ceil(kLabelLeading / out.cell_height)));
  out.column_labels_height = level ? kLabelLeading + 4 : 0.65 * column_text + 14;

  out.grid_left = (map.row_label.empty() ? 0 : 20) + widest(map.rows) + 8;
  // A slanted label reaches left of its cell.
  if (out.rotate_columns)
    out.grid_left = std::max(out.grid_left, 0.72 * column_text - out.cell_width / 2 + 4);
  out.grid_top = map.title.empty() ? 0 : 24;
  const double bar_text =
      std::max(text_width_px(format_value(out.scale.min, map.format), kTextSize),
               text_width_px(format_value(out.scale.max, map.format), kTextSize));
  out.width = out.grid_left + out.grid_width() + kBarGap + kBarWidth + 8 + bar_text;
  out.width = std::max(out.width, text_width_px(map.title, kPanelTitleSize));
  out.width = std::max(out.width, std::min(kGridWidth, text_width_px(map.caption, kTextSize)));
  out.height = out.grid_top + out.grid_height() + out.column_labels_height;
  if (!map.column_label.empty()) out.height += 18;
  if (!map.caption.empty()) out.height += 20;
  return out;
}

void draw_cells(Svg& svg, const PanelLayout& panel, Point corner) {
  const HeatMap& map = *panel.map;
  const double gap = panel.cell_width >= 8 && panel.cell_height >= 8 ? 1 : 0;  // small cells touch
  for (size_t i = 0; i < map.rows.size(); ++i) {
    for (size_t j = 0; j < map.columns.size(); ++j) {
      const double value = map.values[i][j];
      const bool present = std::isfinite(value);
      const Rgb ground = present ? heat_color(panel.scale.fraction(value)) : kNoValue;
      const Point at{corner.x + panel.grid_left + static_cast<double>(j) * panel.cell_width,
                     corner.y + panel.grid_top + static_cast<double>(i) * panel.cell_height};
      const std::string text = format_value(value, map.format);
      svg.rect(
          at, panel.cell_width - gap, panel.cell_height - gap, {.fill = hex(ground)},
          str(map.row_label, map.row_label.empty() ? "" : " ", map.rows[i], ", ", map.column_label,
              map.column_label.empty() ? "" : " ", map.columns[j], ": ", text));
      const bool fits =
          text_width_px(text, kTextSize) <= panel.cell_width - 4 && panel.cell_height >= 15;
      if (fits)
        svg.text(
            {at.x + (panel.cell_width - gap) / 2, at.y + (panel.cell_height - gap) / 2 + 4}, text,
            {.size_px = kTextSize, .color = text_color_on(ground), .anchor = SvgAnchor::middle});
    }
  }
}

void draw_labels(Svg& svg, const PanelLayout& panel, Point corner) {
  const HeatMap& map = *panel.map;
  const double left = corner.x + panel.grid_left, top = corner.y + panel.grid_top;
  const double bottom = top + panel.grid_height();
  for (size_t i = 0; i < map.rows.size(); i += static_cast<size_t>(panel.row_stride))
    svg.text({left - 8, top + (static_cast<double>(i) + 0.5) * panel.cell_height + 4},
             shorten(map.rows[i], kMaxLabelColumns),
             {.size_px = kTextSize, .anchor = SvgAnchor::end});
  for (size_t j = 0; j < map.columns.size(); j += static_cast<size_t>(panel.column_stride)) {
    const double x = left + (static_cast<double>(j) + 0.5) * panel.cell_width;
    const std::string label = shorten(map.columns[j], kMaxLabelColumns);
    if (panel.rotate_columns)
      svg.text({x + 3, bottom + 12}, label,
               {.size_px = kTextSize, .anchor = SvgAnchor::end, .rotate_degrees = -45});
    else
      svg.text({x, bottom + kLabelLeading}, label,
               {.size_px = kTextSize, .anchor = SvgAnchor::middle});
  }
  svg.text({left + panel.grid_width() / 2, bottom + panel.column_labels_height + kLabelLeading},
           map.column_label,
           {.size_px = kTextSize, .color = kMutedInk, .anchor = SvgAnchor::middle});
  svg.text({corner.x + 12, (top + bottom) / 2}, map.row_label,
           {.size_px = kTextSize,
            .color = kMutedInk,
            .anchor = SvgAnchor::middle,
            .rotate_degrees = -90});
}

void draw_scale(Svg& svg, const PanelLayout& panel, Point corner) {
  const double x = corner.x + panel.grid_left + panel.grid_width() + kBarGap;
  const double top = corner.y + panel.grid_top, height = panel.grid_height() - 1;
  svg.rect({x, top}, kBarWidth, height, {.fill = "url(#heat)"});
  const int n_intervals = height >= 100 ? 4 : height >= 40 ? 2 : 1;
  for (int i = 0; i <= n_intervals; ++i) {
    const double t = static_cast<double>(i) / n_intervals;
    const double value = panel.scale.min * (1 - t) + panel.scale.max * t;
    const double y = top + (1 - t) * height;
    svg.line({x + kBarWidth, y}, {x + kBarWidth + 3, y}, {.stroke = hex(kMutedInk)});
    // The end labels stay within the bar, so that a bar one row high has room for both.
    const double baseline = i == 0 ? y : i == n_intervals ? y + 8 : y + 4;
    svg.text({x + kBarWidth + 6, baseline}, format_value(value, panel.map->format),
             {.size_px = kTextSize, .color = kMutedInk});
  }
}

void draw_panel(Svg& svg, const PanelLayout& panel, Point corner) {
  const HeatMap& map = *panel.map;
  svg.text({corner.x, corner.y + 12}, map.title, {.size_px = kPanelTitleSize, .bold = true});
  if (map.rows.empty() || map.columns.empty()) {
    svg.text({corner.x, corner.y + panel.grid_top + 12}, "no data",
             {.size_px = kTextSize, .color = kMutedInk});
    return;
  }
  draw_cells(svg, panel, corner);
  draw_labels(svg, panel, corner);
  draw_scale(svg, panel, corner);
  const int caption_columns = static_cast<int>(panel.width / text_width_px("0", kTextSize));
  svg.text({corner.x, corner.y + panel.height - 4}, shorten(map.caption, caption_columns),
           {.size_px = kTextSize, .color = kMutedInk});
}

}  // namespace

std::string heat_maps(const std::string& title, std::span<const HeatMap> panels,
                      Arrangement arrangement) {
  const bool stacked = arrangement == Arrangement::stacked;
  std::vector<PanelLayout> layouts;
  double width = title.empty() ? 0 : text_width_px(title, kTitleSize), height = 0;
  double along = 0, across = 0;
  for (const HeatMap& map : panels) {
    layouts.push_back(lay_out(map));
    along += stacked ? layouts.back().height : layouts.back().width;
    across = std::max(across, stacked ? layouts.back().width : layouts.back().height);
  }
  if (!panels.empty()) along += kPanelGap * static_cast<double>(panels.size() - 1);
  width = std::max(width, stacked ? across : along);
  height = stacked ? along : across;

  const double top = kPad + (title.empty() ? 0 : 32);
  Svg svg(std::ceil(width + 2 * kPad), std::ceil(top + height + kPad), title);
  svg.define_heat_gradient();
  svg.text({kPad, kPad + 14}, title, {.size_px = kTitleSize, .bold = true});
  Point corner{kPad, top};
  for (const PanelLayout& layout : layouts) {
    draw_panel(svg, layout, corner);
    (stacked ? corner.y : corner.x) += (stacked ? layout.height : layout.width) + kPanelGap;
  }
  return svg.finish();
}

}  // namespace moe
