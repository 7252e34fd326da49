// SPDX-License-Identifier: MIT
// The kinds of configuration keys: what text each takes, its range, and the error when the text is
// something else.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "moe/base/config.h"
#include "moe/base/error.h"
#include "moe/base/yaml_tree.h"

namespace moe {
namespace {

/// Every error of a key: what was found, and what the key takes.
[[noreturn]] void fail(const std::string& path, const std::string& yaml,
                       const std::string& wanted) {
  throw Error(str("[config] ", path, " is ", yaml.empty() ? "empty" : printable(yaml, 80),
                  ", must be ", wanted),
              ExitCode::usage);
}

std::string with_range(const std::string& type, const std::string& range) {
  return range.empty() ? type : type + ", " + range;
}

/// ">= 1", "1 to 10"; a bound that no value can cross is left out.
template <class T>
std::string range_text(T min, T max, T lowest, T highest, std::string (*text)(T)) {
  if (min <= lowest && max >= highest) return "";
  if (max >= highest) return ">= " + text(min);
  if (min <= lowest) return "<= " + text(max);
  return text(min) + " to " + text(max);
}

/// Int: the type of the field, whose own limits go without saying.
template <class Int>
std::string integer_range(Int min, Int max) {
  using Limits = std::numeric_limits<Int>;
  return range_text<Int>(min, max, Limits::min(), Limits::max(), [](Int v) { return str(v); });
}

std::string number_range(double min, double max) {
  constexpr double kUnbounded = std::numeric_limits<double>::max();
  return range_text<double>(min, max, -kUnbounded, kUnbounded, yaml_number);
}

std::string number_list_range(size_t count, const std::string& each) {
  return str(count, " numbers", each.empty() ? "" : ", each ", each);
}

/// The whole of text as a T; from_chars alone takes no plus sign.
template <class T>
bool parse_whole(std::string_view text, T& value) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  return status == std::errc() && end == text.data() + text.size() && !text.empty();
}

bool is_plain_scalar(const YamlNode& node) {
  return node.kind == YamlNode::Kind::scalar && !node.quoted;
}

bool parse_integer(const YamlNode& node, int64_t min, int64_t max, int64_t& value) {
  return is_plain_scalar(node) && parse_whole(node.text, value) && value >= min && value <= max;
}

bool parse_number(const YamlNode& node, double min, double max, double& value) {
  if (!is_plain_scalar(node)) return false;
  if (node.text == ".inf" || node.text == "+.inf")
    value = std::numeric_limits<double>::infinity();
  else if (node.text == "-.inf")
    value = -std::numeric_limits<double>::infinity();
  else if (!parse_whole(node.text, value))
    return false;
  return value >= min && value <= max;  // false for NaN
}

/// What set() of a string key takes; null is the empty string.
bool parse_string(const YamlNode& node, std::string& value) {
  if (node.kind != YamlNode::Kind::scalar && node.kind != YamlNode::Kind::null) return false;
  value = node.text;
  return true;
}

template <class Int>
ConfigKey integer_key(const std::string& path, Int& field, Int min, Int max,
                      const std::string& meaning) {
  ConfigKey key{.path = path,
                .type = "integer",
                .range = integer_range(min, max),
                .meaning = meaning,
                .set = {},
                .get = {}};
  key.set = [path, &field, min, max,
             wanted = with_range("an integer", key.range)](const std::string& yaml) {
    int64_t value = 0;
    if (!parse_integer(parse_yaml(yaml, path), min, max, value)) fail(path, yaml, wanted);
    field = static_cast<Int>(value);
  };
  key.get = [&field] { return str(field); };
  return key;
}

}  // namespace

void ConfigTable::integer(const std::string& path, int64_t& field, int64_t min, int64_t max,
                          const std::string& meaning) {
  add(integer_key(path, field, min, max, meaning));
}

void ConfigTable::integer(const std::string& path, int& field, int min, int max,
                          const std::string& meaning) {
  add(integer_key(path, field, min, max, meaning));
}

void ConfigTable::number(const std::string& path, double& field, double min, double max,
                         const std::string& meaning) {
  ConfigKey key{.path = path,
                .type = "number",
                .range = number_range(min, max),
                .meaning = meaning,
                .set = {},
                .get = {}};
  key.set = [path, &field, min, max,
             wanted = with_range("a number", key.range)](const std::string& yaml) {
    double value = 0;
    if (!parse_number(parse_yaml(yaml, path), min, max, value)) fail(path, yaml, wanted);
    field = value;
  };
  key.get = [&field] { return yaml_number(field); };
  add(std::move(key));
}

void ConfigTable::boolean(const std::string& path, bool& field, const std::string& meaning) {
  ConfigKey key{.path = path,
                .type = "boolean",
                .range = "true | false",
                .meaning = meaning,
                .set = {},
                .get = {}};
  key.set = [path, &field](const std::string& yaml) {
    const YamlNode node = parse_yaml(yaml, path);
    const bool is_true = is_plain_scalar(node) && (node.text == "true" || node.text == "True");
    const bool is_false = is_plain_scalar(node) && (node.text == "false" || node.text == "False");
    if (!is_true && !is_false) fail(path, yaml, "true or false");
    field = is_true;
  };
  key.get = [&field] { return field ? "true" : "false"; };
  add(std::move(key));
}

void ConfigTable::string(const std::string& path, std::string& field, const std::string& meaning) {
  ConfigKey key{
      .path = path, .type = "string", .range = "", .meaning = meaning, .set = {}, .get = {}};
  key.set = [path, &field](const std::string& yaml) {
    std::string value;
    if (!parse_string(parse_yaml(yaml, path), value)) fail(path, yaml, "a string");
    field = value;
  };
  key.get = [&field] { return yaml_string(field); };
  add(std::move(key));
}

void ConfigTable::choice(const std::string& path, std::string& field,
                         std::vector<std::string> choices, const std::string& meaning) {
  ConfigKey key{.path = path,
                .type = "string",
                .range = join(choices, " | "),
                .meaning = meaning,
                .set = {},
                .get = {}};
  key.set = [path, &field, choices = std::move(choices)](const std::string& yaml) {
    std::string value;
    const bool is_string = parse_string(parse_yaml(yaml, path), value);
    if (is_string && std::find(choices.begin(), choices.end(), value) != choices.end()) {
      field = value;
      return;
    }
    const std::string near = is_string ? nearest_word(value, choices) : "";
    fail(path, yaml,
         str("one of ", join(choices, " | "),
             near.empty() ? "" : str("; did you mean ", near, '?')));
  };
  key.get = [&field] { return field == "true" || field == "false" ? field : yaml_string(field); };
  add(std::move(key));
}

void ConfigTable::string_or_list(const std::string& path, std::string& field,
                                 const std::string& meaning) {
  ConfigKey key{.path = path,
                .type = "string or list",
                .range = "",
                .meaning = meaning,
                .set = {},
                .get = {}};
  key.set = [path, &field](const std::string& yaml) {
    const YamlNode node = parse_yaml(yaml, path);
    std::string value;
    if (node.kind == YamlNode::Kind::list) {
      std::vector<std::string> numbers;
      for (const YamlNode& item : node.items) {
        int64_t number = 0;
        if (!parse_integer(item, 0, std::numeric_limits<int64_t>::max(), number))
          fail(path, yaml, "a string or a list of whole numbers");
        numbers.push_back(str(number));
      }
      value = "[" + join(numbers, ",") + "]";
    } else if (!parse_string(node, value)) {
      fail(path, yaml, "a string or a list of whole numbers");
    }
    field = value;
  };
  // A list is written as one, so that other readers of the file see what it is.
  key.get = [&field] {
    try {
      if (field.starts_with('[')) {
        const YamlNode node = parse_yaml(field, "");
        if (node.kind == YamlNode::Kind::list) return to_yaml_line(node);
      }
    } catch (const Error&) {  // no list after all: a string
    }
    return yaml_string(field);
  };
  add(std::move(key));
}

void ConfigTable::numbers(const std::string& path, std::vector<double>& field, size_t count,
                          double min, double max, const std::string& meaning) {
  ConfigKey key{.path = path,
                .type = "list of numbers",
                .range = number_list_range(count, number_range(min, max)),
                .meaning = meaning,
                .set = {},
                .get = {}};
  key.set = [path, &field, count, min, max,
             wanted = "a list of " + key.range](const std::string& yaml) {
    const YamlNode node = parse_yaml(yaml, path);
    if (node.kind != YamlNode::Kind::list || node.items.size() != count) fail(path, yaml, wanted);
    std::vector<double> values(count);
    for (size_t i = 0; i < count; ++i)
      if (!parse_number(node.items[i], min, max, values[i])) fail(path, yaml, wanted);
    field = std::move(values);
  };
  key.get = [&field] {
    std::vector<std::string> parts;
    for (const double value : field) parts.push_back(yaml_number(value));
    return "[" + join(parts, ", ") + "]";
  };
  add(std::move(key));
}

}  // namespace moe
