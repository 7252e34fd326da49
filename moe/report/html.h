// SPDX-License-Identifier: MIT
// A self-contained HTML page around pictures and tables: one file, no script, nothing loaded from
// elsewhere.
#pragma once

#include <span>
#include <string>

namespace moe {

struct HtmlSection {
  std::string heading;
  std::string text =
      {};  // plain text; line breaks stay, set in a monospaced font so that tables align
  std::string svg =
      {};  // a whole document as line_chart() and heat_maps() return it; embedded as it is
};

/// The page. heading and text are escaped. A Content-Security-Policy forbids scripts and every
/// outside resource; colours follow the reader's light or dark setting.
std::string html_page(const std::string& title, std::span<const HtmlSection> sections);

}  // namespace moe
