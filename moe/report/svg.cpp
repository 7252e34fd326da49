// SPDX-License-Identifier: MIT
#include "moe/report/svg.h"

#include <cmath>
#include <fmt/format.h>

#include "moe/base/error.h"
#include "moe/report/display_width.h"
#include "moe/report/escape.h"

namespace moe {

std::string svg_number(double value) {
  MOE_CHECK(std::isfinite(value), "[svg] a coordinate is ", value, ", must be finite");
  std::string out = fmt::format("{:.2f}", value);
  out.erase(out.find_last_not_of('0') + 1);
  if (out.back() == '.') out.pop_back();
  return out == "-0" ? "0" : out;
}

double text_width_px(std::string_view text, double size_px) {
  // DejaVu Sans, the widest of the usual sans-serif fonts, has digits of 0.636 em; Helvetica and
  // Segoe 0.55.
  return 0.63 * size_px * display_width(text);
}

Svg::Svg(double width_px, double height_px, std::string_view title) {
  const std::string width = svg_number(width_px), height = svg_number(height_px);
  body_ = str("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", width, "\" height=\"", height,
              "\" viewBox=\"0 0 ", width, " ", height,
              "\" role=\"img\" font-family=\"system-ui, -apple-system, 'Segoe UI', ",
              "'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif\">\n<title>",
              escape_markup(title), "</title>\n");
  rect({0.5, 0.5}, width_px - 1, height_px - 1,
       {.fill = hex(kPaper), .stroke = hex(kFrame), .corner_radius = 8});
}

void Svg::shape(std::string_view element, std::string_view geometry, const SvgStyle& style,
                std::string_view hover) {
  body_ += str("<", element, " ", geometry, " fill=\"", escape_markup(style.fill), "\"");
  if (style.stroke != "none") {
    body_ += str(" stroke=\"", escape_markup(style.stroke), "\"");
    if (style.stroke_width != 1)
      body_ += str(" stroke-width=\"", svg_number(style.stroke_width), "\"");
    if (!style.dash.empty()) body_ += str(" stroke-dasharray=\"", escape_markup(style.dash), "\"");
  }
  if (style.opacity != 1) body_ += str(" opacity=\"", svg_number(style.opacity), "\"");
  if (hover.empty())
    body_ += "/>\n";
  else
    body_ += str("><title>", escape_markup(hover), "</title></", element, ">\n");
}

void Svg::rect(Point corner, double width, double height, const SvgStyle& style,
               std::string_view hover) {
  std::string geometry =
      str("x=\"", svg_number(corner.x), "\" y=\"", svg_number(corner.y), "\" width=\"",
          svg_number(width), "\" height=\"", svg_number(height), "\"");
  if (style.corner_radius != 0) geometry += str(" rx=\"", svg_number(style.corner_radius), "\"");
  shape("rect", geometry, style, hover);
}

void Svg::line(Point from, Point to, const SvgStyle& style) {
  shape("line",
        str("x1=\"", svg_number(from.x), "\" y1=\"", svg_number(from.y), "\" x2=\"",
            svg_number(to.x), "\" y2=\"", svg_number(to.y), "\""),
        style, {});
}

void Svg::polyline(std::span<const Point> points, const SvgStyle& style, std::string_view hover) {
  std::string geometry = "points=\"";
  for (size_t i = 0; i < points.size(); ++i)
    geometry += str(i == 0 ? "" : " ", svg_number(points[i].x), ",", svg_number(points[i].y));
  shape("polyline", geometry + "\" stroke-linejoin=\"round\" stroke-linecap=\"round\"", style,
        hover);
}

void Svg::circle(Point center, double radius, const SvgStyle& style, std::string_view hover) {
  shape("circle",
        str("cx=\"", svg_number(center.x), "\" cy=\"", svg_number(center.y), "\" r=\"",
            svg_number(radius), "\""),
        style, hover);
}

void Svg::text(Point at, std::string_view text, const SvgText& style) {
  if (text.empty()) return;
  const std::string x = svg_number(at.x), y = svg_number(at.y);
  body_ += str("<text x=\"", x, "\" y=\"", y, "\" font-size=\"", svg_number(style.size_px),
               "\" fill=\"", hex(style.color), "\"");
  if (style.anchor != SvgAnchor::start)
    body_ += style.anchor == SvgAnchor::middle ? " text-anchor=\"middle\"" : " text-anchor=\"end\"";
  if (style.bold) body_ += " font-weight=\"600\"";
  if (style.rotate_degrees != 0)
    body_ += str(" transform=\"rotate(", svg_number(style.rotate_degrees), " ", x, " ", y, ")\"");
  body_ += str(">", escape_markup(text), "</text>\n");
}

void Svg::define_heat_gradient() {
  constexpr int kStops = 16;  // the intervals of heat_color's table
  body_ += "<defs><linearGradient id=\"heat\" x1=\"0\" y1=\"1\" x2=\"0\" y2=\"0\">";
  for (int i = 0; i <= kStops; ++i) {
    const double t = static_cast<double>(i) / kStops;
    body_ += str("<stop offset=\"", fmt::format("{:.4f}", t), "\" stop-color=\"",
                 hex(heat_color(t)), "\"/>");
  }
  body_ += "</linearGradient></defs>\n";
}

std::string Svg::finish() const { return body_ + "</svg>\n"; }

}  // namespace moe
