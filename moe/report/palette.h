// SPDX-License-Identifier: MIT
// The colours of every picture. Series: Okabe and Ito, "Color Universal Design" (2008), without its
// yellow, which is lost on white. Heat: viridis (Smith and van der Walt, matplotlib, CC0):
// lightness rises evenly, so it also reads in grey and to colour-blind eyes. Pictures bring their
// own white ground, so they look alike on light and dark pages.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace moe {

struct Rgb {
  uint8_t r, g, b;
  bool operator==(const Rgb&) const = default;
};

/// "#1a2b3c".
std::string hex(Rgb color);

inline constexpr Rgb kPaper{255, 255, 255};
inline constexpr Rgb kInk{0x1f, 0x29, 0x33};
inline constexpr Rgb kMutedInk{0x5a, 0x66, 0x75};
inline constexpr Rgb kGridLine{0xe3, 0xe7, 0xec};
inline constexpr Rgb kFrame{0xc9, 0xd1, 0xda};
inline constexpr Rgb kNoValue{0xe3, 0xe5, 0xe8};  // a cell without a number; viridis has no grey

inline constexpr int kSeriesColors = 7;
/// Colour of the index-th series (>= 0); repeats after kSeriesColors, where a dash tells two apart.
Rgb series_color(int index);

/// viridis at t, clamped to [0, 1].
Rgb heat_color(double t);

/// WCAG 2.1 relative luminance, 0 (black) to 1 (white).
double relative_luminance(Rgb color);
/// Black or white, whichever has the higher WCAG contrast on the ground (never below 4.5:1).
Rgb text_color_on(Rgb ground);

}  // namespace moe
