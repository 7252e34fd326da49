// SPDX-License-Identifier: MIT
#include "moe/report/palette.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>

#include "moe/base/str.h"

namespace moe {

std::string hex(Rgb color) { return fmt::format("#{:02x}{:02x}{:02x}", color.r, color.g, color.b); }

Rgb series_color(int index) {
  static constexpr std::array<Rgb, kSeriesColors> kColors{{{0x00, 0x72, 0xb2},
                                                           {0xd5, 0x5e, 0x00},
                                                           {0x00, 0x9e, 0x73},
                                                           {0xcc, 0x79, 0xa7},
                                                           {0xe6, 0x9f, 0x00},
                                                           {0x56, 0xb4, 0xe9},
                                                           {0x00, 0x00, 0x00}}};
  return kColors[static_cast<size_t>(index) % kColors.size()];
}

Rgb heat_color(double t) {
  // matplotlib 3.11's viridis at 0, 1/16 ... 1; between them a channel strays by at most 6/255.
  static constexpr std::array<Rgb, 17> kTable{{{0x44, 0x01, 0x54},
                                               {0x48, 0x18, 0x6a},
                                               {0x47, 0x2d, 0x7b},
                                               {0x42, 0x40, 0x86},
                                               {0x3b, 0x52, 0x8b},
                                               {0x33, 0x63, 0x8d},
                                               {0x2c, 0x72, 0x8e},
                                               {0x26, 0x82, 0x8e},
                                               {0x21, 0x91, 0x8c},
                                               {0x1f, 0x9f, 0x88},
                                               {0x27, 0xad, 0x81},
                                               {0x3d, 0xbc, 0x74},
                                               {0x5c, 0xc8, 0x63},
                                               {0x81, 0xd3, 0x4d},
                                               {0xaa, 0xdc, 0x32},
                                               {0xd5, 0xe2, 0x1a},
                                               {0xfd, 0xe7, 0x25}}};
  const double position = std::clamp(t, 0.0, 1.0) * (kTable.size() - 1);
  const size_t below = std::min(static_cast<size_t>(position), kTable.size() - 2);
  const double part = position - static_cast<double>(below);
  const auto mix = [&](uint8_t a, uint8_t b) {
    return static_cast<uint8_t>(std::lround(a + part * (b - a)));
  };
  const Rgb low = kTable[below], high = kTable[below + 1];
  return {mix(low.r, high.r), mix(low.g, high.g), mix(low.b, high.b)};
}

double relative_luminance(Rgb color) {
  const auto linear = [](uint8_t channel) {
    const double s = channel / 255.0;
    return s <= 0.04045 ? s / 12.92 : std::pow((s + 0.055) / 1.055, 2.4);
  };
  return 0.2126 * linear(color.r) + 0.7152 * linear(color.g) + 0.0722 * linear(color.b);
}

Rgb text_color_on(Rgb ground) {
  // Contrast is (lighter + 0.05) / (darker + 0.05): white wins while 1.05 / (Y + 0.05) > (Y + 0.05)
  // / 0.05.
  const double y = relative_luminance(ground) + 0.05;
  return 1.05 * 0.05 > y * y ? Rgb{255, 255, 255} : Rgb{0, 0, 0};
}

}  // namespace moe
