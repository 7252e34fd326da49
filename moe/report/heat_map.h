// SPDX-License-Identifier: MIT
// Heat maps as SVG and on a terminal: layer x expert load, expert x subject, time x expert.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace moe {

struct ValueFormat {
  int decimals = 2;      // 0 to 9
  bool percent = false;  // 0.25 -> "25%"
};
/// The number as cells and scales show it: fixed decimals, from 1e7 on "1.2e9"; "nan", "inf",
/// "-inf".
std::string format_value(double value, ValueFormat format);

struct HeatMap {
  std::string title = {};
  std::string row_label = {}, column_label = {};     // what rows and columns are: "layer"
  std::vector<std::string> rows = {}, columns = {};  // one label each
  /// [rows][columns]; NaN and inf are cells without a value.
  std::vector<std::vector<double>> values = {};
  ValueFormat format = {};
  /// The scale's ends, at most 1e100 in magnitude; values beyond take the end's colour. Without:
  /// min is 0 if no value is negative, else the smallest value; max is the largest value.
  std::optional<double> min = {}, max = {};
  std::string caption = {};  // a line below
};

enum class Arrangement { stacked, side_by_side };

/// One SVG of all panels under one title ("" for none). Every cell tells row, column and value on
/// hover; the value is printed in it where it fits. Throws Error when values do not match the
/// labels.
std::string heat_maps(const std::string& title, std::span<const HeatMap> panels,
                      Arrangement arrangement = Arrangement::stacked);

struct TerminalStyle {
  bool color = false;  // 256 colours (see wants_color in base/progress.h); else ASCII shades
  int width = 80;      // columns of the terminal
};

/// Lines of text, each ending in a newline and, as long as one cell fits beside the row labels, at
/// most style.width columns wide. Cells hold the number where a whole row of numbers fits, else
/// only shades. Without colour the output is pure ASCII if the labels are. Labels are made
/// printable.
std::string terminal_heat_map(const HeatMap& map, const TerminalStyle& style);

/// The scale that a map uses, and the place of a value on it in [0, 1].
struct HeatScale {
  double min, max;  // min < max, both within 1e100
  double fraction(double value) const;
};
HeatScale heat_scale(const HeatMap& map);
/// Throws Error unless every row of values has one value per column and there is one per row label.
void check_heat_map(const HeatMap& map);

}  // namespace moe
