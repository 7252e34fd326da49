// SPDX-License-Identifier: MIT
// A small SVG 1.1 document builder. The same calls give the same bytes: numbers have at most two
// decimals, whatever the locale, and every text is escaped.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "moe/report/palette.h"

namespace moe {

struct Point {
  double x, y;
};

/// A coordinate: at most two decimals, no trailing zeros, no "-0". Throws Error when it is not
/// finite.
std::string svg_number(double value);

/// About how wide a text is in a sans-serif font of that size. Fonts differ; this errs on the wide
/// side.
double text_width_px(std::string_view text, double size_px);

struct SvgStyle {
  std::string fill = "none", stroke = "none";
  double stroke_width = 1;
  double opacity = 1;
  std::string dash = {};  // stroke-dasharray, e.g. "6 3"
  double corner_radius = 0;
};

enum class SvgAnchor { start, middle, end };

struct SvgText {
  double size_px = 12;
  Rgb color = kInk;
  SvgAnchor anchor = SvgAnchor::start;
  bool bold = false;
  double rotate_degrees = 0;  // about the anchor point
};

class Svg {
 public:
  /// A white page with a thin frame. title is what screen readers say.
  Svg(double width_px, double height_px, std::string_view title);

  /// hover: shown when the pointer rests on the shape; "" for none.
  void rect(Point corner, double width, double height, const SvgStyle& style,
            std::string_view hover = {});
  void line(Point from, Point to, const SvgStyle& style);
  void polyline(std::span<const Point> points, const SvgStyle& style, std::string_view hover = {});
  void circle(Point center, double radius, const SvgStyle& style, std::string_view hover = {});
  /// at: the baseline. Does nothing for an empty text.
  void text(Point at, std::string_view text, const SvgText& style = {});
  /// A vertical gradient from heat_color(0) at the bottom to heat_color(1) at the top, used as fill
  /// "url(#heat)".
  void define_heat_gradient();

  /// The whole document with a final newline.
  std::string finish() const;

 private:
  void shape(std::string_view element, std::string_view geometry, const SvgStyle& style,
             std::string_view hover);
  std::string body_;
};

}  // namespace moe
