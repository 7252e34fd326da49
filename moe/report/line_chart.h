// SPDX-License-Identifier: MIT
// A line chart as one self-contained SVG: loss curves, learning rates, loads over time.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace moe {

struct Series {
  enum class Weight { bold, faint };
  std::string name = {};                 // "": not in the legend
  std::vector<double> xs = {}, ys = {};  // equally many
  Weight weight = Weight::bold;
  int color = -1;  // index for series_color(); -1: the next one
};

struct LineChart {
  std::string title = {}, x_label = {}, y_label = {};
  std::vector<Series> series = {};
  bool log_x = false, log_y = false;
  int width_px = 800, height_px = 440;  // at least 240 x 200
};

/// The SVG. A point whose x or y is NaN, infinite, beyond 1e100 or (on a logarithmic axis) not
/// positive interrupts its line and is counted in a note below the chart. A point alone between
/// gaps is a dot; a chart without a point says "no data". Dense lines are thinned to the extremes
/// of each half pixel, so a long run stays a small file. Faint lines lie below bold ones. Throws
/// Error when xs and ys differ in length or the chart is too small.
std::string line_chart(const LineChart& chart);

/// Exponential moving average with the start-up bias removed, as TensorBoard smooths: a_i = w
/// a_{i-1} + (1 - w) y_i, out_i = a_i / (1 - w^i), 0 <= w < 1. Values that are not finite stay as
/// they are and do not enter the average.
std::vector<double> smooth(std::span<const double> ys, double weight);

/// A noisy curve as two series of one colour: the raw values faint and unnamed, the smoothed ones
/// bold. The smoothing grows with the number of points up to a weight of 0.9 (LLaMA-Factory,
/// extras/ploting.py).
std::vector<Series> raw_and_smoothed(const std::string& name, std::vector<double> xs,
                                     std::vector<double> ys, int color);

}  // namespace moe
