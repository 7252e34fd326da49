// SPDX-License-Identifier: MIT
#include "moe/text/jinja/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fmt/format.h>

#include "moe/base/error.h"
#include "moe/base/utf8.h"
#include "moe/text/unicode.h"

namespace moe::jinja {

void fail(std::string_view kind, const std::string& message) {
  throw Error(str(kind, ": ", message));
}

// ---- bounds -------------------------------------------------------------------------------

namespace {
thread_local Budget* current = nullptr;
constexpr int kMaxDepth = 100;

/// The depth of a container; namespaces may lie in none, so that no value can hold itself.
void count_in(const Value& child, int& depth) {
  if (child.is(Kind::space)) fail("TypeError", "a namespace cannot lie within another value");
  depth = std::max(depth, child.depth + 1);
  if (depth > kMaxDepth) fail("RecursionError", "values lie too deep within each other");
}
}  // namespace

Budget::Budget(int64_t steps, size_t max_text_bytes)
    : steps_(steps), max_text_bytes_(max_text_bytes), outer_(current) {
  current = this;
}
Budget::~Budget() { current = outer_; }
void Budget::spend(int64_t steps) {
  if (current && (current->steps_ -= steps) < 0)
    fail("LimitError", "the template needs too many steps; does it loop for ever?");
}
void Budget::check_size(size_t bytes) {
  if (current && bytes > current->max_text_bytes_)
    fail("LimitError",
         str("the template makes a value of more than ", human_bytes(current->max_text_bytes_)));
}

// ---- text ---------------------------------------------------------------------------------

Text::Text(std::string text, Origin origin) : bytes(std::move(text)) {
  if (origin != kTemplate) origins.assign(bytes.size(), origin);
}

Text Text::substr(size_t begin, size_t size) const {
  Text out(bytes.substr(begin, size));
  if (!origins.empty()) out.origins = origins.substr(begin, size);
  return out;
}

void Text::append(const Text& more) {
  Budget::check_size(bytes.size() + more.bytes.size());
  Budget::spend(1 + static_cast<int64_t>(more.bytes.size() / 64));
  if (!more.origins.empty() || !origins.empty()) {
    origins.resize(bytes.size(), kTemplate);
    if (more.origins.empty())
      origins.append(more.bytes.size(), kTemplate);
    else
      origins += more.origins;
  }
  bytes += more.bytes;
}

Origin Text::origin() const {
  Origin out = kTemplate;
  for (const char o : origins) out = std::max(out, static_cast<Origin>(o));
  return out;
}

// ---- making -------------------------------------------------------------------------------

Value Value::undefined(std::string name) {
  Value v;
  v.text = std::make_shared<const Text>(std::move(name));
  return v;
}
Value Value::none() {
  Value v;
  v.kind = Kind::none;
  return v;
}
Value Value::of(bool value) {
  Value v;
  v.kind = Kind::boolean;
  v.boolean = value;
  return v;
}
Value Value::of(int64_t value) {
  Value v;
  v.kind = Kind::integer;
  v.integer = value;
  return v;
}
Value Value::of(double value) {
  Value v;
  v.kind = Kind::real;
  v.real = value;
  return v;
}
Value Value::of(Text value) {
  Value v;
  v.kind = Kind::string;
  v.text = std::make_shared<const Text>(std::move(value));
  return v;
}
Value Value::of(List values, bool tuple) {
  Value v;
  v.kind = tuple ? Kind::tuple : Kind::list;
  Budget::check_size(values.size() * sizeof(Value));
  Budget::spend(1 + std::ssize(values) / 8);
  for (const Value& value : values) count_in(value, v.depth);
  v.list = std::make_shared<List>(std::move(values));
  return v;
}
Value Value::of(Dict values) {
  Value v;
  v.kind = Kind::dict;
  Budget::check_size(values.size() * 2 * sizeof(Value));
  Budget::spend(1 + std::ssize(values) / 4);
  for (const auto& [key, value] : values) count_in(value, v.depth);
  v.dict = std::make_shared<Dict>(std::move(values));
  return v;
}
Value Value::of(Function f) {
  Value v;
  v.kind = Kind::function;
  v.function = std::make_shared<const Function>(std::move(f));
  return v;
}

double Value::number() const {
  if (kind == Kind::real) return real;
  return kind == Kind::boolean ? double(boolean) : double(integer);
}

const Value* Value::find(const Value& key) const {
  for (const auto& [k, v] : *dict)
    if (equal(k, key)) return &v;
  return nullptr;
}
const Value* Value::find(std::string_view key) const {
  for (const auto& [k, v] : *dict)
    if (k.is(Kind::string) && k.bytes() == key) return &v;
  return nullptr;
}

// ---- asking -------------------------------------------------------------------------------

bool truth(const Value& v) {
  switch (v.kind) {
    case Kind::undefined:
    case Kind::none: return false;
    case Kind::boolean: return v.boolean;
    case Kind::integer: return v.integer != 0;
    case Kind::real: return v.real != 0;
    case Kind::string: return !v.bytes().empty();
    case Kind::list:
    case Kind::tuple: return !v.list->empty();
    case Kind::dict: return !v.dict->empty();
    case Kind::space:
    case Kind::function: return true;
  }
  return false;
}

bool equal(const Value& a, const Value& b) {
  Budget::spend(1);
  if (a.is_number() && b.is_number()) {
    if (a.is(Kind::real) || b.is(Kind::real)) return a.number() == b.number();
    const auto whole = [](const Value& v) {
      return v.is(Kind::boolean) ? int64_t(v.boolean) : v.integer;
    };
    return whole(a) == whole(b);
  }
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::undefined:
    case Kind::none: return true;
    case Kind::string: return a.bytes() == b.bytes();
    case Kind::list:
    case Kind::tuple:
      return std::equal(a.list->begin(), a.list->end(), b.list->begin(), b.list->end(), equal);
    case Kind::dict:
      if (a.dict->size() != b.dict->size()) return false;
      return std::all_of(a.dict->begin(), a.dict->end(), [&](const auto& entry) {
        const Value* other = b.find(entry.first);
        return other && equal(entry.second, *other);
      });
    case Kind::space: return a.dict == b.dict;
    case Kind::function: return a.function == b.function;
    default: return false;
  }
}

std::string type_name(const Value& v) {
  constexpr const char* kNames[] = {"Undefined", "NoneType", "bool", "int",       "float",   "str",
                                    "list",      "tuple",    "dict", "Namespace", "function"};
  return kNames[static_cast<int>(v.kind)];
}

std::vector<Text> characters_of(const Text& text) {
  std::vector<Text> out;
  for (size_t i = 0; i < text.bytes.size();) {
    const size_t size = code_point_at(text.bytes, i).size;
    out.push_back(text.substr(i, size));
    i += size;
  }
  return out;
}

// ---- printing -----------------------------------------------------------------------------

std::string python_float(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  std::string digits(buffer, end.ptr);  // d.ddde+XX, the shortest that reads back
  const size_t e = digits.find('e');
  const int exponent = std::stoi(digits.substr(e + 1));
  std::string mantissa = digits.substr(0, e);
  if (exponent < -4 || exponent >= 16)
    return fmt::format("{}e{}{:02d}", mantissa, exponent < 0 ? '-' : '+', std::abs(exponent));
  const auto fixed = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed);
  std::string out(buffer, fixed.ptr);
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

namespace {

Text repr_of_string(const Text& text) {
  const bool has_single = text.bytes.find('\'') != std::string::npos,
             has_double = text.bytes.find('"') != std::string::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  const Origin origin = text.origin();
  std::string out(1, quote);
  const uint16_t* flags = code_point_flags();
  for (size_t i = 0; i < text.bytes.size();) {
    const CodePoint c = code_point_at(text.bytes, i);
    const std::string_view bytes = std::string_view(text.bytes).substr(i, c.size);
    i += c.size;
    if (c.value == '\n') {
      out += "\\n";
    } else if (c.value == '\r') {
      out += "\\r";
    } else if (c.value == '\t') {
      out += "\\t";
    } else if (c.value == '\\' || c.value == static_cast<char32_t>(quote)) {
      out += '\\';
      out += bytes;
    } else if (c.value < 0x20 || c.value == 0x7F) {
      out += fmt::format("\\x{:02x}", uint32_t(c.value));
    } else if (c.value >= 0x80 && c.value < kInvalidByte &&
               ((flags[c.value] & (kControl | kWhiteSpace)) || flags[c.value] == 0)) {
      out += c.value < 0x100     ? fmt::format("\\x{:02x}", uint32_t(c.value))
             : c.value < 0x10000 ? fmt::format("\\u{:04x}", uint32_t(c.value))
                                 : fmt::format("\\U{:08x}", uint32_t(c.value));
    } else {
      out += bytes;
    }
  }
  out += quote;
  return Text(std::move(out), origin);
}

void join_into(Text& out, const List& values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out.append(", ");
    out.append(to_repr(values[i]));
  }
}

}  // namespace

Text to_repr(const Value& v) {
  if (v.is(Kind::string)) return repr_of_string(*v.text);
  if (v.is(Kind::undefined)) return "Undefined";
  return to_text(v);
}

Text to_text(const Value& v) {
  Budget::spend(1);
  switch (v.kind) {
    case Kind::undefined: return "";
    case Kind::none: return "None";
    case Kind::boolean: return v.boolean ? "True" : "False";
    case Kind::integer: return Text(std::to_string(v.integer));
    case Kind::real: return Text(python_float(v.real));
    case Kind::string: return *v.text;
    case Kind::list: {
      Text out("[");
      join_into(out, *v.list);
      out.append("]");
      return out;
    }
    case Kind::tuple: {
      Text out("(");
      join_into(out, *v.list);
      out.append(v.list->size() == 1 ? ",)" : ")");
      return out;
    }
    case Kind::dict: {
      Text out("{");
      bool first = true;
      for (const auto& [key, value] : *v.dict) {
        if (!first) out.append(", ");
        first = false;
        out.append(to_repr(key));
        out.append(": ");
        out.append(to_repr(value));
      }
      out.append("}");
      return out;
    }
    case Kind::space: return "<Namespace>";
    case Kind::function: return "<function>";
  }
  return "";
}

// ---- JSON ---------------------------------------------------------------------------------

Value from_json(const Json& json, Origin origin) {
  switch (json.kind()) {
    case boost::json::kind::null: return Value::none();
    case boost::json::kind::bool_: return Value::of(json.as_bool());
    case boost::json::kind::int64: return Value::of(int64_t(json.as_int64()));
    case boost::json::kind::uint64: return Value::of(double(json.as_uint64()));
    case boost::json::kind::double_: return Value::of(json.as_double());
    case boost::json::kind::string: return Value::of(Text(std::string(json.as_string()), origin));
    case boost::json::kind::array: {
      List out;
      for (const Json& item : json.as_array()) out.push_back(from_json(item, origin));
      return Value::of(std::move(out));
    }
    case boost::json::kind::object: {
      Dict out;
      for (const auto& [key, value] : json.as_object())
        out.emplace_back(Value::of(Text(std::string(key), origin)), from_json(value, origin));
      return Value::of(std::move(out));
    }
  }
  return Value::none();
}

namespace {

Text json_string(const Text& text, bool ensure_ascii) {
  const Origin origin = text.origin();
  std::string out = "\"";
  for (size_t i = 0; i < text.bytes.size();) {
    const CodePoint c = code_point_at(text.bytes, i);
    const std::string_view bytes = std::string_view(text.bytes).substr(i, c.size);
    i += c.size;
    switch (c.value) {
      case '"': out += "\\\""; continue;
      case '\\': out += "\\\\"; continue;
      case '\b': out += "\\b"; continue;
      case '\f': out += "\\f"; continue;
      case '\n': out += "\\n"; continue;
      case '\r': out += "\\r"; continue;
      case '\t': out += "\\t"; continue;
      default: break;
    }
    if (c.value < 0x20) {
      out += fmt::format("\\u{:04x}", uint32_t(c.value));
    } else if (ensure_ascii && c.value >= 0x7F && c.value < kInvalidByte) {
      if (c.value < 0x10000)
        out += c.value == 0x7F ? std::string(bytes) : fmt::format("\\u{:04x}", uint32_t(c.value));
      else
        out += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (uint32_t(c.value - 0x10000) >> 10),
                           0xDC00 + (uint32_t(c.value - 0x10000) & 0x3FF));
    } else {
      out += bytes;
    }
  }
  out += '"';
  return Text(std::move(out), origin);
}

struct JsonDump {
  int indent;
  bool ensure_ascii, sort_keys;
  Text out = {};

  void new_line(int depth) {
    if (indent >= 0) out.append(Text("\n" + std::string(size_t(indent * depth), ' ')));
  }
  void separator(bool first, int depth) {
    if (!first) out.append(indent >= 0 ? "," : ", ");
    new_line(depth);
  }
  void dump(const Value& v, int depth) {
    Budget::spend(1);
    switch (v.kind) {
      case Kind::none: out.append("null"); return;
      case Kind::boolean: out.append(v.boolean ? "true" : "false"); return;
      case Kind::integer: out.append(Text(std::to_string(v.integer))); return;
      case Kind::real:
        out.append(std::isnan(v.real)   ? Text("NaN")
                   : std::isinf(v.real) ? Text(v.real < 0 ? "-Infinity" : "Infinity")
                                        : Text(python_float(v.real)));
        return;
      case Kind::string: out.append(json_string(*v.text, ensure_ascii)); return;
      case Kind::list:
      case Kind::tuple: {
        if (v.list->empty()) {
          out.append("[]");
          return;
        }
        out.append("[");
        for (size_t i = 0; i < v.list->size(); ++i) {
          separator(i == 0, depth + 1);
          dump((*v.list)[i], depth + 1);
        }
        new_line(depth);
        out.append("]");
        return;
      }
      case Kind::dict: {
        if (v.dict->empty()) {
          out.append("{}");
          return;
        }
        std::vector<const std::pair<Value, Value>*> entries;
        for (const auto& entry : *v.dict) entries.push_back(&entry);
        if (sort_keys)
          std::stable_sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) {
            return to_text(a->first).bytes < to_text(b->first).bytes;
          });
        out.append("{");
        bool first = true;
        for (const auto* entry : entries) {
          separator(first, depth + 1);
          first = false;
          out.append(entry->first.is(Kind::string)
                         ? json_string(*entry->first.text, ensure_ascii)
                         : json_string(to_text(entry->first), ensure_ascii));
          out.append(": ");
          dump(entry->second, depth + 1);
        }
        new_line(depth);
        out.append("}");
        return;
      }
      default: fail("TypeError", "Object of type " + type_name(v) + " is not JSON serializable");
    }
  }
};

}  // namespace

Text dump_json(const Value& value, int indent, bool ensure_ascii, bool sort_keys) {
  JsonDump dump{indent, ensure_ascii, sort_keys};
  dump.dump(value, 0);
  return std::move(dump.out);
}

}  // namespace moe::jinja
