// SPDX-License-Identifier: MIT
// JSON text. Our own writer, because Boost.JSON 1.81 writes 1 as 1E0 and infinity as 1e99999, and
// has no indented form.
#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <utility>

#include "moe/base/json.h"
#include "moe/base/str.h"

namespace moe {
namespace {

std::string_view as_view(const boost::json::string_view& text) {
  return {text.data(), text.size()};
}

/// Shortest decimal that reads back to the same double, with a point or an exponent so that it
/// stays a double.
void write_double(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  const size_t start = out.size();
  out += fmt::format("{}", value);
  if (out.find_first_of(".e", start) == std::string::npos) out += ".0";
}

void write_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const size_t valid = std::min(first_invalid_utf8(text), text.size());
    for (const char c : text.substr(0, valid)) {
      switch (c) {
        case '"': out += "\\\""; break;
        case '\\': out += "\\\\"; break;
        case '\n': out += "\\n"; break;
        case '\r': out += "\\r"; break;
        case '\t': out += "\\t"; break;
        default:
          if (static_cast<unsigned char>(c) < 0x20)
            out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
          else
            out += c;
      }
    }
    text.remove_prefix(valid);
    if (text.empty()) break;
    out += "\xEF\xBF\xBD";  // U+FFFD for each byte that is not UTF-8 (a file name may hold any)
    text.remove_prefix(1);
  }
  out += '"';
}

/// indent < 0: all in one line.
void write(std::string& out, const Json& value, int indent) {
  const int inner = indent < 0 ? indent : indent + 2;
  const auto new_line = [&](int width) {
    if (indent >= 0) out.append("\n").append(static_cast<size_t>(width), ' ');
  };
  const auto separate = [&](bool first) {
    if (!first) out += indent < 0 ? ", " : ",";
    new_line(inner);
  };
  switch (value.kind()) {
    case boost::json::kind::null: out += "null"; break;
    case boost::json::kind::bool_: out += value.get_bool() ? "true" : "false"; break;
    case boost::json::kind::int64: out += std::to_string(value.get_int64()); break;
    case boost::json::kind::uint64: out += std::to_string(value.get_uint64()); break;
    case boost::json::kind::double_: write_double(out, value.get_double()); break;
    case boost::json::kind::string: write_string(out, as_view(value.get_string())); break;
    case boost::json::kind::array: {
      const JsonArray& array = value.get_array();
      out += '[';
      for (size_t i = 0; i < array.size(); ++i) {
        separate(i == 0);
        write(out, array[i], inner);
      }
      if (!array.empty()) new_line(indent);
      out += ']';
      break;
    }
    case boost::json::kind::object: {
      const JsonObject& object = value.get_object();
      out += '{';
      bool first = true;
      for (const auto& member : object) {
        separate(std::exchange(first, false));
        write_string(out, as_view(member.key()));
        out += ": ";
        write(out, member.value(), inner);
      }
      if (!object.empty()) new_line(indent);
      out += '}';
      break;
    }
  }
}

}  // namespace

std::string to_json_line(const Json& value) {
  std::string out;
  write(out, value, -1);
  return out;
}

std::string to_json_pretty(const Json& value) {
  std::string out;
  write(out, value, 0);
  return out + "\n";
}

}  // namespace moe
