// SPDX-License-Identifier: MIT
// The values of chat templates: Python's as far as templates see them. Strings remember, byte by
// byte, where they came from, so that text which a person wrote can never become a special token.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moe/base/json.h"

namespace moe::jinja {

/// Where a byte of a string came from.
enum Origin : char { kTemplate = 0, kContent = 1, kAssistant = 2 };

/// Text with the origin of each byte; no origins mean that all of it is the template's.
struct Text {
  std::string bytes = {}, origins = {};

  Text() = default;
  Text(std::string text) : bytes(std::move(text)) {}
  Text(std::string_view text) : bytes(text) {}
  Text(const char* text) : bytes(text) {}
  Text(std::string text, Origin origin);
  Text substr(size_t begin, size_t size = std::string::npos) const;
  void append(const Text& more);
  /// The origin of bytes made from this text: the highest within it.
  Origin origin() const;
};

struct Value;
using List = std::vector<Value>;
using Dict = std::vector<std::pair<Value, Value>>;  // in the order of insertion

struct Arguments;
using Function = std::function<Value(const Arguments&)>;

enum class Kind {
  undefined,
  none,
  boolean,
  integer,
  real,
  string,
  list,
  tuple,
  dict,
  space,
  function
};

struct Value {
  Kind kind = Kind::undefined;
  bool boolean = false;
  int64_t integer = 0;
  double real = 0;
  std::shared_ptr<const Text> text = {};  // a string; of undefined its name
  std::shared_ptr<List> list = {};        // a list or a tuple
  std::shared_ptr<Dict> dict = {};        // a dict or a namespace
  std::shared_ptr<const Function> function = {};
  int depth = 0;  // of lists and dicts within each other

  static Value undefined(std::string name);
  static Value none();
  static Value of(bool value);
  static Value of(int64_t value);
  static Value of(double value);
  static Value of(Text value);
  static Value of(List values, bool tuple = false);
  static Value of(Dict values);
  static Value of(Function function);

  bool is(Kind k) const { return kind == k; }
  bool is_number() const {
    return kind == Kind::integer || kind == Kind::real || kind == Kind::boolean;
  }
  bool is_sequence() const { return kind == Kind::list || kind == Kind::tuple; }
  double number() const;
  const std::string& bytes() const { return text->bytes; }
  /// The value of a key, or null.
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
};

struct Arguments {
  std::vector<Value> positional = {};
  std::vector<std::pair<std::string, Value>> named = {};
};
/// Python's truth of a value.
bool truth(const Value& value);
/// Python's ==.
bool equal(const Value& a, const Value& b);
/// str(): what {{ }} prints.
Text to_text(const Value& value);
/// repr().
Text to_repr(const Value& value);
/// "1.0", "1e+16", "0.1".
std::string python_float(double value);
/// The name of a value's Python type.
std::string type_name(const Value& value);

/// From a request's or a file's JSON; every string gets the origin.
Value from_json(const Json& json, Origin origin);
/// json.dumps(ensure_ascii=..., indent=..., sort_keys=...). indent < 0: one line. Throws Error for
/// what JSON does not have.
Text dump_json(const Value& value, int indent, bool ensure_ascii, bool sort_keys);

/// Each code point of a string, which is what Python counts and takes apart.
std::vector<Text> characters_of(const Text& text);

/// What one render may cost: a hostile template must end, whatever it builds. Held by the render;
/// everything that walks over values spends from it.
class Budget {
 public:
  Budget(int64_t steps, size_t max_text_bytes);
  ~Budget();
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;
  /// Throws Error when there is nothing left. Without a render nothing is counted.
  static void spend(int64_t steps);
  /// Throws Error for a text, or a list, that would grow beyond the bound.
  static void check_size(size_t bytes);

 private:
  int64_t steps_;
  size_t max_text_bytes_;
  Budget* outer_;
};

/// An error of jinja2's kind: "UndefinedError", "TypeError" ...
[[noreturn]] void fail(std::string_view kind, const std::string& message);

}  // namespace moe::jinja
