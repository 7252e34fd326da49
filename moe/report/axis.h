// SPDX-License-Identifier: MIT
// An axis of a chart: its range, where the ticks go and what they say. Steps are 1, 2 or 5 times a
// power of ten (Heckbert, "Nice numbers for graph labels", Graphics Gems 1990).
#pragma once

#include <string>
#include <vector>

namespace moe {

struct Tick {
  double value;
  std::string label;
};

struct Axis {
  double low = 0, high = 1;  // low < high
  bool log = false;
  std::vector<Tick> ticks;  // ascending, within [low, high]

  /// Where a value lies: 0 at low, 1 at high.
  double fraction(double value) const;
};

struct AxisOptions {
  bool log = false;      // then low and high must be positive
  bool integer = false;  // no step below 1 (training steps)
  bool extend = false;   // widen a linear range to whole steps, a logarithmic one by a twentieth
  int target_ticks = 6;  // about so many
};

/// Magnitudes that an axis can hold; a value outside is drawn as a gap, like NaN. float32 ends
/// at 3.4e38.
inline constexpr double kLargestDrawn = 1e100, kSmallestDrawnLog = 1e-100;
/// Finite, not beyond kLargestDrawn, and on a logarithmic axis not below kSmallestDrawnLog.
bool is_drawable(double value, bool log);

/// The axis for drawable values from low to high (low <= high). A range of (nearly) no width is
/// widened around it.
Axis make_axis(double low, double high, const AxisOptions& options);

}  // namespace moe
