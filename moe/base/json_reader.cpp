// SPDX-License-Identifier: MIT
// Typed access to the fields of a JSON object, with errors that name the field and what it holds.
#include <cmath>

#include "moe/base/error.h"
#include "moe/base/json.h"

namespace moe {
namespace {

/// "a string", "the number 3": what an error says was found instead.
std::string found(const Json& value) {
  switch (value.kind()) {
    case boost::json::kind::null: return "null";
    case boost::json::kind::bool_: return value.get_bool() ? "true" : "false";
    case boost::json::kind::int64:
    case boost::json::kind::uint64:
    case boost::json::kind::double_: return "the number " + to_json_line(value);
    case boost::json::kind::string: {
      const auto& text = value.get_string();
      return str("the string \"", printable({text.data(), text.size()}, 60), '"');
    }
    case boost::json::kind::array: return "a list";
    case boost::json::kind::object: return "an object";
  }
  return "";
}

[[noreturn]] void wrong_type(const std::string& what, std::string_view key, std::string_view wanted,
                             const Json& value) {
  throw Error(str(what, ": field \"", key, "\" must be ", wanted, ", found ", found(value)));
}

const Json* find(const JsonObject& object, std::string_view key) {
  return object.if_contains(boost::json::string_view(key.data(), key.size()));
}

}  // namespace

bool JsonReader::has(std::string_view key) const {
  const Json* value = find(object_, key);
  return value != nullptr && !value->is_null();
}

const Json& JsonReader::at(std::string_view key) const {
  const Json* value = find(object_, key);
  if (value == nullptr) throw Error(str(what_, ": field \"", key, "\" is missing"));
  return *value;
}

int64_t JsonReader::integer(std::string_view key) const {
  const Json& value = at(key);
  if (value.is_int64()) return value.get_int64();
  if (value.is_double()) {
    const double number = value.get_double();
    // [-2^63, 2^63) holds exactly the doubles that fit.
    if (number == std::floor(number) && number >= -0x1p63 && number < 0x1p63)
      return static_cast<int64_t>(number);
  }
  wrong_type(what_, key, "an integer within 64 bits", value);
}

double JsonReader::number(std::string_view key) const {
  const Json& value = at(key);
  if (value.is_double()) return value.get_double();
  if (value.is_int64()) return static_cast<double>(value.get_int64());
  if (value.is_uint64()) return static_cast<double>(value.get_uint64());
  wrong_type(what_, key, "a number", value);
}

bool JsonReader::boolean(std::string_view key) const {
  const Json& value = at(key);
  if (value.is_bool()) return value.get_bool();
  wrong_type(what_, key, "true or false", value);
}

std::string JsonReader::string(std::string_view key) const {
  const Json& value = at(key);
  if (!value.is_string()) wrong_type(what_, key, "a string", value);
  return {value.get_string().data(), value.get_string().size()};
}

int64_t JsonReader::integer_or(std::string_view key, int64_t otherwise) const {
  return has(key) ? integer(key) : otherwise;
}
double JsonReader::number_or(std::string_view key, double otherwise) const {
  return has(key) ? number(key) : otherwise;
}
bool JsonReader::boolean_or(std::string_view key, bool otherwise) const {
  return has(key) ? boolean(key) : otherwise;
}
std::string JsonReader::string_or(std::string_view key, std::string_view otherwise) const {
  return has(key) ? string(key) : std::string(otherwise);
}

}  // namespace moe
