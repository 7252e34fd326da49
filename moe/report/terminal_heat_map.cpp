// SPDX-License-Identifier: MIT
// The heat map of heat_map.h for terminals: blocks of xterm's 6 x 6 x 6 colour cube, or ASCII
// shades.
#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>

#include "moe/base/error.h"
#include "moe/report/display_width.h"
#include "moe/report/heat_map.h"
#include "moe/report/palette.h"

namespace moe {
namespace {

// Lightest to densest; no sign and no digit, because a number stands beside it.
constexpr std::string_view kShades = " .:;oxO#@";
constexpr int kMaxLabelColumns = 24;

// viridis as 12 colours of xterm's cube: nearby hues whose luminance rises at every step.
constexpr std::array<int, 12> kHeatRamp{53, 54, 24, 60, 30, 36, 72, 77, 113, 149, 184, 220};

size_t bin(double fraction, size_t n_bins) {
  return std::min(static_cast<size_t>(fraction * static_cast<double>(n_bins)), n_bins - 1);
}

Rgb xterm_rgb(int index) {
  static constexpr std::array<uint8_t, 6> kLevels{0, 95, 135, 175, 215, 255};
  const int i = index - 16;
  return {kLevels[i / 36], kLevels[i / 6 % 6], kLevels[i % 6]};
}

std::string on_heat(const std::string& text, double fraction) {
  const int ground = kHeatRamp[bin(fraction, kHeatRamp.size())];
  const int ink =
      text_color_on(xterm_rgb(ground)) == Rgb{0, 0, 0} ? 16 : 231;  // the cube's black and white
  return fmt::format("\x1b[48;5;{}m\x1b[38;5;{}m{}\x1b[0m", ground, ink, text);
}

char shade(double fraction) { return kShades[bin(fraction, kShades.size())]; }

std::string pad_left(const std::string& text, int width) {
  return std::string(static_cast<size_t>(std::max(0, width - display_width(text))), ' ') + text;
}

std::string without_trailing_spaces(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

class Painter {
 public:
  Painter(const HeatMap& map, const TerminalStyle& style)
      : map_(map), style_(style), scale_(heat_scale(map)) {
    const auto n_columns = static_cast<int>(map.columns.size());
    for (const std::string& row : map.rows)
      label_width_ = std::max(label_width_, display_width(label(row)));
    int value_width = 1, column_label_width = 1;
    for (const std::vector<double>& row : map.values)
      for (const double value : row)
        value_width = std::max(value_width, display_width(format_value(value, map.format)));
    for (const std::string& column : map.columns)
      column_label_width = std::max(column_label_width, display_width(label(column)));
    // " 0.12 " on a colour, or "0.12 #  ": either way a label may take what is left of the last
    // margin.
    const int narrowest = value_width + (style.color ? 2 : 2 + margin());
    const int room = std::max(1, style.width - label_width_ - 1);
    numbers_ = narrowest * n_columns <= room;
    if (numbers_)
      cell_width_ = std::clamp(column_label_width + margin(), narrowest,
                               std::max(narrowest, room / n_columns));
    else
      cell_width_ = style.color ? 2 : 1;
    columns_per_block_ = std::max(1, room / cell_width_);
  }

  std::string paint() const {
    std::string out;
    if (!map_.title.empty()) out += printable(map_.title) + "\n";
    if (map_.rows.empty() || map_.columns.empty()) return out + "no data\n";
    if (!map_.row_label.empty() && !map_.column_label.empty())
      out += str("rows: ", printable(map_.row_label), ", columns: ", printable(map_.column_label),
                 "\n");
    const auto n_columns = static_cast<int>(map_.columns.size());
    for (int begin = 0; begin < n_columns; begin += columns_per_block_) {
      const int end = std::min(n_columns, begin + columns_per_block_);
      out += header(begin, end);
      for (size_t i = 0; i < map_.rows.size(); ++i) out += row(i, begin, end);
    }
    out += scale_line();
    if (!map_.caption.empty()) out += printable(map_.caption) + "\n";
    return out;
  }

 private:
  int margin() const { return style_.color ? 1 : 2; }  // spaces that end a cell with a number

  std::string label(const std::string& text, int max_columns = kMaxLabelColumns) const {
    return shorten(printable(text), max_columns, style_.color ? "…" : "~");
  }

  // Above numbers every label, cut to the cell; above shades those that do not run into the one
  // before.
  std::string header(int begin, int end) const {
    std::string line(static_cast<size_t>(label_width_ + 1), ' ');
    for (int j = begin; j < end; ++j) {
      if (numbers_) {
        const int width = cell_width_ - margin();
        line += pad_left(label(map_.columns[j], width), width) +
                std::string(static_cast<size_t>(margin()), ' ');
        continue;
      }
      const std::string text = label(map_.columns[j]);
      const int at = label_width_ + 1 + (j - begin) * cell_width_, used = display_width(line);
      const bool touches = j > begin && used >= at;
      if (touches || at + display_width(text) > style_.width) continue;
      line += std::string(static_cast<size_t>(at - used), ' ') + text;
    }
    return without_trailing_spaces(line) + "\n";
  }

  std::string row(size_t i, int begin, int end) const {
    std::string line = pad_left(label(map_.rows[i]), label_width_) + " ";
    for (int j = begin; j < end; ++j) line += cell(map_.values[i][j]);
    return (style_.color ? line : without_trailing_spaces(line)) + "\n";
  }

  std::string cell(double value) const {
    const bool present = std::isfinite(value);
    const double fraction = present ? scale_.fraction(value) : 0;
    const std::string number = numbers_ ? format_value(value, map_.format) : "";
    if (style_.color) {
      const std::string text = numbers_  ? pad_left(number, cell_width_ - 1) + " "
                               : present ? "  "
                                         : "? ";
      return present ? on_heat(text, fraction) : text;
    }
    const char mark = present ? shade(fraction) : '?';
    if (!numbers_) return std::string(1, mark);
    return pad_left(str(number, " ", mark), cell_width_ - margin()) +
           std::string(static_cast<size_t>(margin()), ' ');
  }

  std::string scale_line() const {
    std::string bar;
    for (size_t i = 0; i < kShades.size(); ++i) {
      const double fraction = (static_cast<double>(i) + 0.5) / static_cast<double>(kShades.size());
      bar += style_.color ? on_heat("  ", fraction) : std::string(1, kShades[i]);
    }
    return str(pad_left("", label_width_), " ", format_value(scale_.min, map_.format), " [", bar,
               "] ", format_value(scale_.max, map_.format), "\n");
  }

  const HeatMap& map_;
  TerminalStyle style_;
  HeatScale scale_;
  int label_width_ = 0;
  bool numbers_ = false;  // cells hold numbers, not only shades
  int cell_width_ = 1;
  int columns_per_block_ = 1;
};

}  // namespace

std::string terminal_heat_map(const HeatMap& map, const TerminalStyle& style) {
  check_heat_map(map);
  return Painter(map, style).paint();
}

}  // namespace moe
