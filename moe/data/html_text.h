// SPDX-License-Identifier: MIT
// The main text of a web page: what a person came to read, without menus, forms, advertisements and
// the like. Which parts those are is told by the elements and roles of HTML, by names of classes,
// and for the rest by how long a block's text is and how much of it are links (Kohlschuetter et
// al. 2010, "Boilerplate detection using shallow text features"; jusText, Pomikalek 2011).
#pragma once

#include <string>
#include <string_view>

namespace moe {

struct HtmlText {
  std::string title;
  /// Paragraphs with an empty line between them; items of lists behind "- ", cells of a table's row
  /// between " | ", preformatted text as it is. Empty where a page has no main text.
  std::string text;
};

/// Reads a page as broken as it may be. Nothing is loaded or run. Throws Error that begins with
/// `what` for a page of more than 32 MiB and for elements nested more than 256 deep.
HtmlText extract_html(std::string_view page, const std::string& what);

}  // namespace moe
