// SPDX-License-Identifier: MIT
// Foreign text into XML (SVG) and HTML, in text and in quoted attributes alike.
#pragma once

#include <string>
#include <string_view>

namespace moe {

/// & < > " ' become references. What XML 1.0 forbids (control characters except tab and newlines,
/// U+FFFE, U+FFFF, broken UTF-8) and the C1 controls become U+FFFD, so the result is always well
/// formed.
std::string escape_markup(std::string_view text);

}  // namespace moe
