// SPDX-License-Identifier: MIT
// The bytes of a web page as UTF-8.
#pragma once

#include <string>
#include <string_view>

namespace moe {

/// What a page says its encoding is: by a byte order mark, else by <meta charset> or <meta
/// http-equiv content> in its first 4 KiB; in lower case, "" when it says nothing.
std::string declared_encoding(std::string_view bytes);

/// A page in UTF-8. Without a declaration, or with one that nobody knows, it is UTF-8 where that is
/// well formed, else Windows-1252, as browsers do; names stand for what they mean on the web
/// (iso-8859-1 is windows-1252, gb2312 is gb18030). What is ill formed becomes U+FFFD, NUL too.
std::string html_to_utf8(std::string_view bytes);

}  // namespace moe
