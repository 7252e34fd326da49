// SPDX-License-Identifier: MIT
// JSON (Boost.JSON) with the rules that foreign files need: duplicate keys refused, depth at most
// 64, memory bounded by a multiple of the text (4x unless the caller expects more) + 1 MiB, errors
// that name file, line and column.
#pragma once

#include <boost/json.hpp>
#include <string>
#include <string_view>

namespace moe {

using Json = boost::json::value;
using JsonObject = boost::json::object;
using JsonArray = boost::json::array;

/// what: how errors call the source, e.g. "[config.json] path". Throws Error; trailing non-space
/// text is an error.
Json parse_json(std::string_view text, const std::string& what, uint64_t memory_per_byte = 4);
/// Reads and parses a file.
Json read_json(const std::string& path, const std::string& what);

/// Typed access to an object's fields, with errors that name the field; `take` marks a field as
/// known.
class JsonReader {
 public:
  JsonReader(const JsonObject& object, std::string what)
      : object_(object), what_(std::move(what)) {}
  bool has(std::string_view key) const;         // present and not null
  const Json& at(std::string_view key) const;   // throws when absent
  int64_t integer(std::string_view key) const;  // an integral number (1 or 1.0), within int64
  int64_t integer_or(std::string_view key, int64_t otherwise) const;  // absent or null: otherwise
  double number(std::string_view key) const;
  double number_or(std::string_view key, double otherwise) const;
  bool boolean(std::string_view key) const;
  bool boolean_or(std::string_view key, bool otherwise) const;
  std::string string(std::string_view key) const;
  std::string string_or(std::string_view key, std::string_view otherwise) const;
  const std::string& what() const { return what_; }

 private:
  const JsonObject& object_;
  std::string what_;
};

/// One line. Numbers round-trip; non-finite numbers become null (JSON has none).
std::string to_json_line(const Json& value);
/// Indented by 2, keys in insertion order, final newline: for files that people read.
std::string to_json_pretty(const Json& value);

}  // namespace moe
