// SPDX-License-Identifier: MIT
#include "moe/report/html.h"

#include "moe/base/str.h"
#include "moe/report/escape.h"

namespace moe {

std::string html_page(const std::string& title, std::span<const HtmlSection> sections) {
  const std::string safe_title = escape_markup(title);
  std::string out =
      str("<!doctype html>\n"
          "<html lang=\"en\">\n"
          "<head>\n"
          "<meta charset=\"utf-8\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
          "'unsafe-inline'\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<title>",
          safe_title,
          "</title>\n"
          "<style>\n"
          ":root { color-scheme: light dark; }\n"
          "body { font-family: system-ui, sans-serif; line-height: 1.5; max-width: 60rem; margin: "
          "2rem auto; "
          "padding: 0 1rem; }\n"
          "h1 { font-size: 1.5rem; }\n"
          "h2 { font-size: 1.15rem; margin-top: 2rem; }\n"
          "pre { overflow-x: auto; }\n"
          "svg { max-width: 100%; height: auto; }\n"
          "</style>\n"
          "</head>\n"
          "<body>\n"
          "<h1>",
          safe_title, "</h1>\n");
  for (const HtmlSection& section : sections) {
    out += "<section>\n";
    if (!section.heading.empty()) out += str("<h2>", escape_markup(section.heading), "</h2>\n");
    if (!section.text.empty()) out += str("<pre>", escape_markup(section.text), "</pre>\n");
    out += section.svg;
    out += "</section>\n";
  }
  return out + "</body>\n</html>\n";
}

}  // namespace moe
