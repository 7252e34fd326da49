// SPDX-License-Identifier: MIT
#include "moe/report/axis.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "moe/base/str.h"

namespace moe {
namespace {

double nice_step(double span, int target_ticks) {
  const double rough = span / target_ticks;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double digit = rough / power;
  return power * (digit <= 1.5 ? 1 : digit <= 3.5 ? 2 : digit <= 7.5 ? 5 : 10);
}

// "1.50e+06" -> "1.5e6".
std::string scientific(double value, int decimals) {
  const std::string text = fmt::format("{:.{}e}", value, decimals);
  const size_t e = text.find('e');
  std::string mantissa = text.substr(0, e);
  if (mantissa.find('.') != std::string::npos) {
    mantissa.erase(mantissa.find_last_not_of('0') + 1);
    if (mantissa.back() == '.') mantissa.pop_back();
  }
  return str(mantissa, "e", std::stoi(text.substr(e + 1)));
}

// The label of a tick: as many digits as tell neighbours a step apart.
std::string tick_label(double value, double step, double largest) {
  if (value == 0) return "0";
  const int step_exponent = static_cast<int>(std::floor(std::log10(step) + 1e-9));
  if (largest >= 1e6 || largest < 1e-3) {
    const int exponent = static_cast<int>(std::floor(std::log10(std::abs(value)) + 1e-9));
    return scientific(value, std::max(0, exponent - step_exponent));
  }
  if (step_exponent >= 0 && std::abs(value) >= 10'000) return with_commas(std::llround(value));
  return fmt::format("{:.{}f}", value, std::max(0, -step_exponent));
}

std::vector<Tick> linear_ticks(double low, double high, double step) {
  const double largest = std::max(std::abs(low), std::abs(high));
  std::vector<Tick> ticks;
  // A thousandth of a step absorbs the rounding of the division.
  const double first = std::ceil(low / step - 1e-3), last = std::floor(high / step + 1e-3);
  for (double i = first; i <= last; ++i)
    ticks.push_back({i * step, tick_label(i * step, step, largest)});
  return ticks;
}

std::string decade_label(double value) {
  return value >= 1e5 || value < 1e-3 ? scientific(value, 0) : fmt::format("{:g}", value);
}

std::vector<Tick> log_ticks(double low, double high, int target_ticks) {
  const double decades = std::log10(high / low);
  const int first = static_cast<int>(std::floor(std::log10(low))),
            last = static_cast<int>(std::ceil(std::log10(high)));
  const int stride = std::max(1, static_cast<int>(std::ceil(decades / target_ticks)));
  std::vector<double> digits{1};
  if (decades < 3) digits = {1, 2, 5};
  std::vector<Tick> ticks;
  for (int decade = first; decade <= last; ++decade) {
    if (decade % stride != 0) continue;
    for (const double digit : digits) {
      const double value = digit * std::pow(10.0, decade);
      if (value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9))
        ticks.push_back({value, decade_label(value)});
    }
  }
  if (ticks.size() < 3 && decades < 3)
    ticks = linear_ticks(low, high, nice_step(high - low, target_ticks));
  return ticks;
}

}  // namespace

double Axis::fraction(double value) const {
  if (log) return std::log(value / low) / std::log(high / low);
  return (value - low) / (high - low);
}

bool is_drawable(double value, bool log) {
  return std::isfinite(value) && std::abs(value) <= kLargestDrawn &&
         (!log || value >= kSmallestDrawnLog);
}

Axis make_axis(double low, double high, const AxisOptions& options) {
  Axis axis{.low = low, .high = high, .log = options.log, .ticks = {}};
  // Closer than this, ten digits could not tell two labels apart, or the step would be denormal.
  constexpr double kSmallestSpan = 1e-100;
  const bool narrow =
      high - low <= std::max(kSmallestSpan, 1e-9 * std::max(std::abs(low), std::abs(high)));
  if (options.log) {
    if (narrow) axis.low /= 2, axis.high *= 2;
    if (options.extend) {
      const double margin = std::pow(axis.high / axis.low, 0.05);
      axis.low /= margin, axis.high *= margin;
    }
    axis.ticks = log_ticks(axis.low, axis.high, options.target_ticks);
    return axis;
  }
  if (narrow) {
    const double margin =
        options.integer || std::abs(low) <= kSmallestSpan ? 1 : std::abs(low) / 10;
    axis.low -= margin, axis.high += margin;
  }
  double step = nice_step(axis.high - axis.low, options.target_ticks);
  if (options.integer) step = std::max(step, 1.0);
  if (options.extend) {
    axis.low = std::min(axis.low, std::floor(axis.low / step + 1e-3) * step);
    axis.high = std::max(axis.high, std::ceil(axis.high / step - 1e-3) * step);
  }
  axis.ticks = linear_ticks(axis.low, axis.high, step);
  return axis;
}

}  // namespace moe
