// SPDX-License-Identifier: MIT
// The main text of web pages, in any encoding.
#include "moe/base/str.h"
#include "moe/data/html_text.h"

#include "fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  return moe::fuzz::read([&] {
    const moe::HtmlText got = moe::extract_html(moe::fuzz::text(data, size), "[fuzz]");
    for (const std::string& text : {got.text, got.title}) {
      moe::fuzz::require(moe::first_invalid_utf8(text) == std::string::npos);
      moe::fuzz::require(text.find('\0') == std::string::npos);
    }
  });
}
