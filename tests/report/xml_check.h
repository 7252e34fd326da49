// SPDX-License-Identifier: MIT
// A strict check that a text is well-formed XML of the kind the library writes: elements, quoted
// attributes, the five named references, no comments, no doctype. Returns "" or what is wrong, so
// that a test prints it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "moe/base/str.h"

namespace moe {

inline std::string check_references(std::string_view text) {
  for (size_t i = text.find('&'); i != std::string_view::npos; i = text.find('&', i + 1)) {
    const std::string_view rest = text.substr(i);
    bool known = false;
    for (const char* name : {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"})
      known = known || starts_with(rest, name);
    if (!known) return str("bare & at ", rest.substr(0, 10));
  }
  if (text.find('<') != std::string_view::npos) return "bare <";
  for (const char c : text)
    if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' && c != '\r')
      return "control character";
  return first_invalid_utf8(text) == std::string_view::npos ? "" : "broken UTF-8";
}

inline std::string xml_error(std::string_view xml) {
  std::vector<std::string> open;
  size_t n_roots = 0;
  while (!xml.empty()) {
    const size_t tag = xml.find('<');
    const std::string_view text = xml.substr(0, tag);
    if (const std::string error = check_references(text); !error.empty()) return error;
    if (open.empty() && !trim(text).empty()) return str("text outside the root: ", text);
    if (tag == std::string_view::npos) break;
    xml.remove_prefix(tag + 1);
    const bool closing = starts_with(xml, "/");
    if (closing) xml.remove_prefix(1);
    const size_t name_end = xml.find_first_of(" />\n");
    if (name_end == std::string_view::npos || name_end == 0) return "a tag without a name";
    const std::string name(xml.substr(0, name_end));
    xml.remove_prefix(name_end);
    std::vector<std::string> attributes;
    while (starts_with(xml, " ")) {
      const size_t equals = xml.find("=\"");
      if (equals == std::string_view::npos) return "an attribute without a value in " + name;
      const std::string attribute(xml.substr(1, equals - 1));
      if (attribute.empty() || attribute.find_first_of(" <>\"'/") != std::string::npos)
        return str("attribute name '", attribute, "' in ", name);
      for (const std::string& other : attributes)
        if (other == attribute) return str("attribute ", attribute, " twice in ", name);
      attributes.push_back(attribute);
      xml.remove_prefix(equals + 2);
      const size_t quote = xml.find('"');
      if (quote == std::string_view::npos) return "an open quote in " + name;
      if (const std::string error = check_references(xml.substr(0, quote)); !error.empty())
        return error;
      xml.remove_prefix(quote + 1);
    }
    const bool empty_element = starts_with(xml, "/>");
    if (!empty_element && !starts_with(xml, ">")) return "no end of tag " + name;
    xml.remove_prefix(empty_element ? 2 : 1);
    if (closing) {
      if (open.empty() || open.back() != name) return "unexpected end of " + name;
      open.pop_back();
    } else {
      if (open.empty() && ++n_roots > 1) return "a second root: " + name;
      if (!empty_element) open.push_back(name);
    }
  }
  if (!open.empty()) return "not closed: " + open.back();
  return n_roots == 1 ? "" : "no root";
}

/// How often a part occurs.
inline int count(std::string_view text, std::string_view part) {
  int n = 0;
  for (size_t i = text.find(part); i != std::string_view::npos;
       i = text.find(part, i + part.size()))
    ++n;
  return n;
}

}  // namespace moe
