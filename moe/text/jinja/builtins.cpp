// SPDX-License-Identifier: MIT
#include "moe/text/jinja/builtins.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <numeric>

#include "moe/base/error.h"
#include "moe/base/utf8.h"
#include "moe/text/unicode.h"

namespace moe::jinja {
namespace {

Value text(std::string s, Origin origin = kTemplate) {
  return Value::of(Text(std::move(s), origin));
}

/// Argument i, or the one of that name, or undefined.
Value argument(const Arguments& args, size_t i, std::string_view name) {
  if (i < args.positional.size()) return args.positional[i];
  for (const auto& [key, value] : args.named)
    if (key == name) return value;
  return Value::undefined(std::string(name));
}
bool is_given(const Value& v) { return !v.is(Kind::undefined); }

void need_defined(const Value& v) {
  if (v.is(Kind::undefined))
    fail("UndefinedError", str("'", printable(v.text->bytes, 60), "' is undefined"));
}
const Text& need_text(const Value& v, std::string_view of) {
  need_defined(v);
  if (!v.is(Kind::string)) fail("TypeError", str(of, " needs a text, not ", type_name(v)));
  return *v.text;
}
int64_t need_integer(const Value& v, std::string_view of) {
  need_defined(v);
  if (v.is(Kind::boolean)) return v.boolean;
  if (!v.is(Kind::integer)) fail("TypeError", str(of, " needs a whole number, not ", type_name(v)));
  return v.integer;
}

/// |n|; the least number, whose negative does not fit, as the nearest one that does.
int64_t absolute(int64_t n) { return n == INT64_MIN ? INT64_MAX : std::abs(n); }

/// Python's str.isspace: White_Space and U+001C to U+001F.
bool is_python_space(char32_t c) {
  return (code_point_flags()[c] & kWhiteSpace) || (c >= 0x1C && c <= 0x1F);
}

Text strip(const Text& t, const Value& characters, bool left, bool right) {
  const bool given = is_given(characters) && !characters.is(Kind::none);
  const auto goes = [&](std::string_view s) {
    if (given) return characters.bytes().find(s) != std::string::npos;
    return is_python_space(code_point_at(s, 0).value);
  };
  if (given) need_text(characters, "strip");
  size_t begin = 0, end = t.bytes.size();
  const std::string_view s = t.bytes;
  while (left && begin < end) {
    const size_t n = code_point_at(s, begin).size;
    if (!goes(s.substr(begin, n))) break;
    begin += n;
  }
  while (right && end > begin) {
    const size_t n = code_point_before(s, end).size;
    if (!goes(s.substr(end - n, n))) break;
    end -= n;
  }
  return t.substr(begin, end - begin);
}

std::string upper_of(std::string_view s) {
  std::string out;
  for (const char c : s) out += c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
  // Beyond ASCII: simple mappings.
  return first_invalid_utf8(s) == std::string::npos ? to_upper(s) : out;
}

enum class Case { upper, lower, capital, title };
Text with_case(const Text& t, Case how) {
  if (how == Case::upper) return Text(upper_of(t.bytes), t.origin());
  if (how == Case::lower) return Text(to_lower(t.bytes), t.origin());
  std::string out;
  bool first = true;
  const uint16_t* flags = code_point_flags();
  for (size_t i = 0; i < t.bytes.size();) {
    const CodePoint c = code_point_at(t.bytes, i);
    const std::string_view bytes = std::string_view(t.bytes).substr(i, c.size);
    i += c.size;
    out += first ? upper_of(bytes) : to_lower(bytes);
    first = how == Case::title && !(flags[c.value] & kLetter);
  }
  return Text(std::move(out), t.origin());
}

List split(const Text& t, const Value& separator, int64_t most, bool from_right) {
  List out;
  const std::string_view s = t.bytes;
  if (!is_given(separator) || separator.is(Kind::none)) {
    size_t i = 0;
    while (i < s.size()) {
      while (i < s.size() && is_python_space(code_point_at(s, i).value))
        i += code_point_at(s, i).size;
      if (i == s.size()) break;
      if (most >= 0 && std::ssize(out) == most) {
        out.push_back(Value::of(strip(t.substr(i), Value::undefined(""), false, true)));
        return out;
      }
      const size_t begin = i;
      while (i < s.size() && !is_python_space(code_point_at(s, i).value))
        i += code_point_at(s, i).size;
      out.push_back(Value::of(t.substr(begin, i - begin)));
    }
    return out;
  }
  const std::string& mark = need_text(separator, "split").bytes;
  if (mark.empty()) fail("ValueError", "empty separator");
  if (from_right) {
    size_t end = s.size();
    while (most < 0 || std::ssize(out) < most) {
      const size_t at =
          end < mark.size() ? std::string_view::npos : s.rfind(mark, end - mark.size());
      if (at == std::string_view::npos) break;
      out.push_back(Value::of(t.substr(at + mark.size(), end - at - mark.size())));
      end = at;
    }
    out.push_back(Value::of(t.substr(0, end)));
    std::reverse(out.begin(), out.end());
    return out;
  }
  size_t begin = 0;
  while (most < 0 || std::ssize(out) < most) {
    const size_t at = s.find(mark, begin);
    if (at == std::string_view::npos) break;
    out.push_back(Value::of(t.substr(begin, at - begin)));
    begin = at + mark.size();
  }
  out.push_back(Value::of(t.substr(begin)));
  return out;
}

Text replaced(const Text& t, const Text& from, const Text& to, int64_t most) {
  Text out;
  size_t done = 0;
  const std::string_view s = t.bytes;
  if (from.bytes.empty()) {  // between all characters
    for (size_t i = 0; i < s.size() && most != 0; --most) {
      const size_t n = code_point_at(s, i).size;
      out.append(to);
      out.append(t.substr(i, n));
      done = i += n;
    }
    out.append(t.substr(done));
    if (most != 0) out.append(to);
    return out;
  }
  for (size_t at; most != 0 && (at = s.find(from.bytes, done)) != std::string_view::npos; --most) {
    out.append(t.substr(done, at - done));
    out.append(to);
    done = at + from.bytes.size();
  }
  out.append(t.substr(done));
  return out;
}

bool any_of_affixes(const Text& t, const Value& affix, bool at_end) {
  const auto fits = [&](const Value& v) {
    const std::string& s = need_text(v, at_end ? "endswith" : "startswith").bytes;
    return at_end ? ends_with(t.bytes, s) : starts_with(t.bytes, s);
  };
  if (affix.is(Kind::tuple)) return std::any_of(affix.list->begin(), affix.list->end(), fits);
  return fits(affix);
}

/// Position in code points, or -1.
int64_t position_of(const Text& t, const Value& part, bool last) {
  const std::string& s = need_text(part, "find").bytes;
  const size_t at = last ? t.bytes.rfind(s) : t.bytes.find(s);
  return at == std::string::npos ? -1 : count_code_points(std::string_view(t.bytes).substr(0, at));
}

bool all_flags(const Text& t, uint16_t flags) {
  if (t.bytes.empty()) return false;
  for (size_t i = 0; i < t.bytes.size();) {
    const CodePoint c = code_point_at(t.bytes, i);
    if (!(code_point_flags()[c.value] & flags)) return false;
    i += c.size;
  }
  return true;
}

Value string_method(const Value& self, const std::string& name) {
  using Method = Value (*)(const Text&, const Arguments&);
  const auto count_of = [](const Arguments& a, size_t i, std::string_view key) {
    const Value v = argument(a, i, key);
    return is_given(v) && !v.is(Kind::none) ? need_integer(v, key) : int64_t{-1};
  };
  static const auto count = count_of;
  static const std::map<std::string, Method> methods = {
      {"strip",
       [](const Text& t, const Arguments& a) {
         return Value::of(strip(t, argument(a, 0, ""), true, true));
       }},
      {"lstrip",
       [](const Text& t, const Arguments& a) {
         return Value::of(strip(t, argument(a, 0, ""), true, false));
       }},
      {"rstrip",
       [](const Text& t, const Arguments& a) {
         return Value::of(strip(t, argument(a, 0, ""), false, true));
       }},
      {"upper",
       [](const Text& t, const Arguments&) { return Value::of(with_case(t, Case::upper)); }},
      {"lower",
       [](const Text& t, const Arguments&) { return Value::of(with_case(t, Case::lower)); }},
      {"capitalize",
       [](const Text& t, const Arguments&) { return Value::of(with_case(t, Case::capital)); }},
      {"title",
       [](const Text& t, const Arguments&) { return Value::of(with_case(t, Case::title)); }},
      {"split",
       [](const Text& t, const Arguments& a) {
         return Value::of(split(t, argument(a, 0, "sep"), count(a, 1, "maxsplit"), false));
       }},
      {"rsplit",
       [](const Text& t, const Arguments& a) {
         return Value::of(split(t, argument(a, 0, "sep"), count(a, 1, "maxsplit"), true));
       }},
      {"splitlines",
       [](const Text& t, const Arguments&) {
         List out = split(t, text("\n"), -1, false);
         if (!out.empty() && out.back().bytes().empty()) out.pop_back();
         for (Value& v : out)
           if (ends_with(v.bytes(), "\r")) v = Value::of(v.text->substr(0, v.bytes().size() - 1));
         return Value::of(std::move(out));
       }},
      {"startswith",
       [](const Text& t, const Arguments& a) {
         return Value::of(any_of_affixes(t, argument(a, 0, "prefix"), false));
       }},
      {"endswith",
       [](const Text& t, const Arguments& a) {
         return Value::of(any_of_affixes(t, argument(a, 0, "suffix"), true));
       }},
      {"replace",
       [](const Text& t, const Arguments& a) {
         return Value::of(replaced(t, need_text(argument(a, 0, "old"), "replace"),
                                   need_text(argument(a, 1, "new"), "replace"),
                                   count(a, 2, "count")));
       }},
      {"removeprefix",
       [](const Text& t, const Arguments& a) {
         const std::string& s = need_text(argument(a, 0, "prefix"), "removeprefix").bytes;
         return Value::of(starts_with(t.bytes, s) ? t.substr(s.size()) : t);
       }},
      {"removesuffix",
       [](const Text& t, const Arguments& a) {
         const std::string& s = need_text(argument(a, 0, "suffix"), "removesuffix").bytes;
         return Value::of(ends_with(t.bytes, s) ? t.substr(0, t.bytes.size() - s.size()) : t);
       }},
      {"find",
       [](const Text& t, const Arguments& a) {
         return Value::of(position_of(t, argument(a, 0, "sub"), false));
       }},
      {"rfind",
       [](const Text& t, const Arguments& a) {
         return Value::of(position_of(t, argument(a, 0, "sub"), true));
       }},
      {"index",
       [](const Text& t, const Arguments& a) {
         const int64_t at = position_of(t, argument(a, 0, "sub"), false);
         if (at < 0) fail("ValueError", "substring not found");
         return Value::of(at);
       }},
      {"count",
       [](const Text& t, const Arguments& a) {
         const std::string& s = need_text(argument(a, 0, "sub"), "count").bytes;
         if (s.empty()) return Value::of(count_code_points(t.bytes) + 1);
         int64_t n = 0;
         for (size_t at = 0; (at = t.bytes.find(s, at)) != std::string::npos; at += s.size()) ++n;
         return Value::of(n);
       }},
      {"join",
       [](const Text& t, const Arguments& a) {
         Text out;
         bool first = true;
         for (const Value& v : items_of(argument(a, 0, "iterable"))) {
           if (!first) out.append(t);
           first = false;
           out.append(need_text(v, "join"));
         }
         return Value::of(std::move(out));
       }},
      {"isdigit", [](const Text& t, const Arguments&) { return Value::of(all_flags(t, kNumber)); }},
      {"isnumeric",
       [](const Text& t, const Arguments&) { return Value::of(all_flags(t, kNumber)); }},
      {"isalpha", [](const Text& t, const Arguments&) { return Value::of(all_flags(t, kLetter)); }},
      {"isalnum",
       [](const Text& t, const Arguments&) { return Value::of(all_flags(t, kLetter | kNumber)); }},
      {"isspace",
       [](const Text& t, const Arguments&) { return Value::of(all_flags(t, kWhiteSpace)); }},
      {"isupper",
       [](const Text& t, const Arguments&) {
         return Value::of(upper_of(t.bytes) == t.bytes && to_lower(t.bytes) != t.bytes);
       }},
      {"islower",
       [](const Text& t, const Arguments&) {
         return Value::of(to_lower(t.bytes) == t.bytes && upper_of(t.bytes) != t.bytes);
       }},
      {"partition",
       [](const Text& t, const Arguments& a) {
         const Text& mark = need_text(argument(a, 0, "sep"), "partition");
         const size_t at = t.bytes.find(mark.bytes);
         if (mark.bytes.empty()) fail("ValueError", "empty separator");
         if (at == std::string::npos)
           return Value::of(List{Value::of(t), text(""), text("")}, true);
         return Value::of(List{Value::of(t.substr(0, at)), Value::of(mark),
                               Value::of(t.substr(at + mark.bytes.size()))},
                          true);
       }},
      {"format",
       [](const Text& t, const Arguments& a) {
         Text out;
         size_t next = 0;
         for (size_t i = 0; i < t.bytes.size(); ++i) {
           const char c = t.bytes[i];
           if ((c == '{' || c == '}') && i + 1 < t.bytes.size() && t.bytes[i + 1] == c) {
             out.append(t.substr(i++, 1));
           } else if (c == '{') {
             const size_t close = t.bytes.find('}', i);
             if (close == std::string::npos)
               fail("ValueError", "expected '}' before end of string");
             const std::string field = t.bytes.substr(i + 1, close - i - 1);
             const bool is_number =
                 !field.empty() && field.find_first_not_of("0123456789") == std::string::npos;
             const Value v =
                 field.empty() ? argument(a, next++, "")
                 : is_number   ? argument(a, field.size() > 6 ? ~size_t{0} : std::stoul(field), "")
                               : argument(a, ~size_t{0}, field);
             if (!is_given(v))
               fail("IndexError", "no argument for '{" + printable(field, 20) + "}'");
             out.append(to_text(v));
             i = close;
           } else {
             out.append(t.substr(i, 1));
           }
         }
         return Value::of(std::move(out));
       }},
  };
  const auto found = methods.find(name);
  if (found == methods.end()) return Value::undefined(name);
  return Value::of(Function(
      [self, method = found->second](const Arguments& a) { return method(*self.text, a); }));
}

Value dict_method(const Value& self, const std::string& name) {
  const auto method = [](Function f) { return Value::of(std::move(f)); };
  if (name == "items")
    return method([self](const Arguments&) {
      List out;
      for (const auto& [key, value] : *self.dict) out.push_back(Value::of(List{key, value}, true));
      return Value::of(std::move(out));
    });
  if (name == "keys" || name == "values")
    return method([self, keys = name == "keys"](const Arguments&) {
      List out;
      for (const auto& [key, value] : *self.dict) out.push_back(keys ? key : value);
      return Value::of(std::move(out));
    });
  if (name == "get")
    return method([self](const Arguments& a) {
      if (const Value* found = self.find(argument(a, 0, "key"))) return *found;
      const Value otherwise = argument(a, 1, "default");
      return is_given(otherwise) ? otherwise : Value::none();
    });
  if (name == "copy")
    return method([self](const Arguments&) { return Value::of(Dict(*self.dict)); });
  for (const char* change : {"update", "pop", "popitem", "clear", "setdefault"})
    if (name == change)
      return method([name](const Arguments&) -> Value {
        fail("SecurityError", "'" + name + "' would change a value of the context");
      });
  return Value::undefined(name);
}

Value list_method(const Value& self, const std::string& name) {
  const auto method = [](Function f) { return Value::of(std::move(f)); };
  if (name == "index")
    return method([self](const Arguments& a) {
      const Value item = argument(a, 0, "value");
      for (size_t i = 0; i < self.list->size(); ++i)
        if (equal((*self.list)[i], item)) return Value::of(int64_t(i));
      fail("ValueError", "the value is not in the list");
    });
  if (name == "count")
    return method([self](const Arguments& a) {
      const Value item = argument(a, 0, "value");
      return Value::of(int64_t(std::count_if(self.list->begin(), self.list->end(),
                                             [&](const Value& v) { return equal(v, item); })));
    });
  if (name == "copy")
    return method([self](const Arguments&) { return Value::of(List(*self.list)); });
  for (const char* change :
       {"append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse"})
    if (name == change && self.is(Kind::list))
      return method([name](const Arguments&) -> Value {
        fail("SecurityError", "'" + name + "' would change a value of the context");
      });
  return Value::undefined(name);
}

// ---- filters ------------------------------------------------------------------------------

/// The key of sort, unique ...: texts without case unless asked.
Value folded(const Value& v, bool case_sensitive) {
  return !case_sensitive && v.is(Kind::string) ? Value::of(with_case(*v.text, Case::lower)) : v;
}
/// "a.b": an attribute of an attribute; a number: an item.
Value attribute_path(const Value& v, const Value& path) {
  if (path.is(Kind::integer)) return item_of(v, path);
  Value out = v;
  std::string rest = need_text(path, "attribute").bytes;
  for (const std::string& name : moe::split(rest, '.')) {
    const bool is_number =
        !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
    out = is_number && name.size() < 10 ? item_of(out, Value::of(int64_t(std::stoll(name))))
                                        : item_of(out, text(name));
  }
  return out;
}
Value optional_attribute(const Arguments& a, size_t i, const Value& v) {
  const Value path = argument(a, i, "attribute");
  return is_given(path) && !path.is(Kind::none) ? attribute_path(v, path) : v;
}

Arguments rest_of(const Arguments& a, size_t from, const Value& first) {
  Arguments out;
  out.positional.push_back(first);
  for (size_t i = from; i < a.positional.size(); ++i) out.positional.push_back(a.positional[i]);
  out.named = a.named;
  return out;
}

Value selected(const Arguments& a, bool by_attribute, bool keep) {
  List out;
  const size_t test_at = by_attribute ? 2 : 1;
  for (const Value& item : items_of(a.positional[0])) {
    const Value v = by_attribute ? attribute_path(item, argument(a, 1, "attribute")) : item;
    const bool holds = a.positional.size() > test_at
                           ? apply_test(need_text(a.positional[test_at], "a test's name").bytes,
                                        rest_of(a, test_at + 1, v))
                           : truth(v);
    if (holds == keep) out.push_back(item);
  }
  return Value::of(std::move(out));
}

Value sorted(const Arguments& a) {
  const bool reverse = truth(argument(a, 1, "reverse")),
             sensitive = truth(argument(a, 2, "case_sensitive"));
  List items = items_of(a.positional[0]);
  std::vector<std::pair<Value, size_t>> keys;
  for (size_t i = 0; i < items.size(); ++i)
    keys.emplace_back(folded(optional_attribute(a, 3, items[i]), sensitive), i);
  std::stable_sort(keys.begin(), keys.end(), [&](const auto& x, const auto& y) {
    Budget::spend(1);
    const int order = compare(x.first, y.first);
    return reverse ? order > 0 : order < 0;
  });
  List out;
  for (const auto& [key, i] : keys) out.push_back(items[i]);
  return Value::of(std::move(out));
}

Value unique(const Arguments& a) {
  List out, seen;
  for (const Value& item : items_of(a.positional[0])) {
    const Value key =
        folded(optional_attribute(a, 2, item), truth(argument(a, 1, "case_sensitive")));
    if (std::any_of(seen.begin(), seen.end(), [&](const Value& v) { return equal(v, key); }))
      continue;
    seen.push_back(key);
    out.push_back(item);
  }
  return Value::of(std::move(out));
}

Value dictsort(const Arguments& a) {
  const Value& dict = a.positional[0];
  need_defined(dict);
  if (!dict.is(Kind::dict)) fail("TypeError", "dictsort needs a dict, not " + type_name(dict));
  const bool sensitive = truth(argument(a, 1, "case_sensitive")),
             reverse = truth(argument(a, 3, "reverse"));
  const Value by = argument(a, 2, "by");
  const bool by_value = by.is(Kind::string) && by.bytes() == "value";
  Dict entries = *dict.dict;
  std::stable_sort(entries.begin(), entries.end(), [&](const auto& x, const auto& y) {
    const int order = compare(folded(by_value ? x.second : x.first, sensitive),
                              folded(by_value ? y.second : y.first, sensitive));
    return reverse ? order > 0 : order < 0;
  });
  List out;
  for (auto& [key, value] : entries) out.push_back(Value::of(List{key, value}, true));
  return Value::of(std::move(out));
}

Value indented(const Arguments& a) {
  const Text t = to_text(a.positional[0]);
  const Value width = argument(a, 1, "width");
  const Text pad =
      width.is(Kind::string)
          ? *width.text
          : Text(std::string(size_t(std::clamp<int64_t>(
                                 is_given(width) ? need_integer(width, "indent") : 4, 0, 1000)),
                             ' '));
  const bool first = truth(argument(a, 2, "first")), blank = truth(argument(a, 3, "blank"));
  Text out;
  size_t begin = 0;
  for (bool is_first = true;; is_first = false) {
    const size_t end = std::min(t.bytes.find('\n', begin), t.bytes.size());
    const bool pads = is_first ? first : (blank || end > begin);
    if (!is_first) out.append("\n");
    if (pads) out.append(pad);
    out.append(t.substr(begin, end - begin));
    if (end == t.bytes.size()) break;
    begin = end + 1;
  }
  return Value::of(std::move(out));
}

Value to_integer(const Arguments& a) {
  const Value& v = a.positional[0];
  const Value otherwise =
      is_given(argument(a, 1, "default")) ? argument(a, 1, "default") : Value::of(int64_t{0});
  if (v.is(Kind::integer)) return v;
  if (v.is(Kind::boolean)) return Value::of(int64_t(v.boolean));
  double number = 0;
  if (v.is(Kind::real)) {
    number = v.real;
  } else if (v.is(Kind::string)) {
    const std::string s = trim(v.bytes());
    int64_t whole = 0;
    const auto [end, error] =
        std::from_chars(s.data() + (starts_with(s, "+") ? 1 : 0), s.data() + s.size(), whole);
    if (error == std::errc() && end == s.data() + s.size() && !s.empty()) return Value::of(whole);
    const auto [rest, status] = std::from_chars(s.data(), s.data() + s.size(), number);
    if (status != std::errc() || rest != s.data() + s.size() || s.empty()) return otherwise;
  } else {
    return otherwise;
  }
  if (!(std::abs(number) < 9e18)) return otherwise;
  return Value::of(static_cast<int64_t>(number));
}

Value to_real(const Arguments& a) {
  const Value& v = a.positional[0];
  if (v.is_number()) return Value::of(v.number());
  if (v.is(Kind::string)) {
    const std::string s = trim(v.bytes());
    double number = 0;
    const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), number);
    if (error == std::errc() && end == s.data() + s.size() && !s.empty()) return Value::of(number);
  }
  const Value otherwise = argument(a, 1, "default");
  return is_given(otherwise) ? otherwise : Value::of(0.0);
}

Value joined(const Arguments& a) {
  const Value separator = argument(a, 1, "d");
  const Text mark = is_given(separator) ? to_text(separator) : Text();
  Text out;
  bool first = true;
  for (const Value& item : items_of(a.positional[0])) {
    if (!first) out.append(mark);
    first = false;
    out.append(to_text(optional_attribute(a, 2, item)));
  }
  return Value::of(std::move(out));
}

Value mapped(const Arguments& a) {
  List out;
  const Value attribute = argument(a, ~size_t{0}, "attribute"),
              otherwise = argument(a, ~size_t{0}, "default");
  if (a.positional.size() < 2 && !is_given(attribute))
    fail("FilterArgumentError", "map requires a filter argument");
  for (const Value& item : items_of(a.positional[0])) {
    if (is_given(attribute)) {
      const Value v = attribute_path(item, attribute);
      out.push_back(!is_given(v) && is_given(otherwise) ? otherwise : v);
    } else {
      out.push_back(
          apply_filter(need_text(a.positional[1], "a filter's name").bytes, rest_of(a, 2, item)));
    }
  }
  return Value::of(std::move(out));
}

Value extreme(const Arguments& a, int sign) {
  Value best = Value::undefined("an empty sequence"), best_key;
  for (const Value& item : items_of(a.positional[0])) {
    const Value key =
        folded(optional_attribute(a, 2, item), truth(argument(a, 1, "case_sensitive")));
    if (!is_given(best) || compare(key, best_key) * sign > 0) {
      best = item;
      best_key = key;
    }
  }
  return best;
}

Value rounded(const Arguments& a) {
  const Value& v = a.positional[0];
  if (!v.is_number()) fail("TypeError", "round needs a number, not " + type_name(v));
  const Value precision = argument(a, 1, "precision"), method = argument(a, 2, "method");
  const double scale =
      std::pow(10.0, double(is_given(precision) ? need_integer(precision, "round") : 0));
  const std::string how = method.is(Kind::string) ? method.bytes() : "common";
  const double x = v.number() * scale;
  return Value::of((how == "ceil"    ? std::ceil(x)
                    : how == "floor" ? std::floor(x)
                                     : std::nearbyint(x)) /
                   scale);
}

Value to_json(const Arguments& a) {
  const Value& v = a.positional[0];
  if (v.is(Kind::undefined)) fail("TypeError", "Object of type Undefined is not JSON serializable");
  const Value indent = argument(a, 1, "indent"), ascii = argument(a, ~size_t{0}, "ensure_ascii"),
              sort = argument(a, ~size_t{0}, "sort_keys");
  const int64_t width =
      is_given(indent) && !indent.is(Kind::none) ? need_integer(indent, "indent") : -1;
  return Value::of(
      dump_json(v, int(std::clamp<int64_t>(width, -1, 64)), truth(ascii), truth(sort)));
}

using Filter = Value (*)(const Arguments&);
const std::map<std::string, Filter>& filters() {
  static const Filter length = [](const Arguments& a) {
    const Value& v = a.positional[0];
    if (v.is(Kind::undefined)) return Value::of(int64_t{0});
    if (v.is(Kind::string)) return Value::of(count_code_points(v.bytes()));
    if (v.is_sequence()) return Value::of(int64_t(v.list->size()));
    if (v.is(Kind::dict)) return Value::of(int64_t(v.dict->size()));
    fail("TypeError", "object of type '" + type_name(v) + "' has no len()");
  };
  static const Filter otherwise = [](const Arguments& a) {
    const Value& v = a.positional[0];
    const bool falsy_too = truth(argument(a, 2, "boolean"));
    if (is_given(v) && !(falsy_too && !truth(v))) return v;
    const Value d = argument(a, 1, "default_value");
    return is_given(d) ? d : text("");
  };
  static const Filter same = [](const Arguments& a) { return a.positional[0]; };
  static const std::map<std::string, Filter> all = {
      {"length", length},
      {"count", length},
      {"default", otherwise},
      {"d", otherwise},
      {"safe", same},
      {"e", same},
      {"escape", same},
      {"string", [](const Arguments& a) { return Value::of(to_text(a.positional[0])); }},
      {"tojson", to_json},
      {"join", joined},
      {"list", [](const Arguments& a) { return Value::of(items_of(a.positional[0])); }},
      {"trim",
       [](const Arguments& a) {
         return Value::of(strip(to_text(a.positional[0]), argument(a, 1, "chars"), true, true));
       }},
      {"items",
       [](const Arguments& a) {
         const Value& v = a.positional[0];
         if (v.is(Kind::undefined)) return Value::of(List());
         if (!v.is(Kind::dict)) fail("TypeError", "Can only get item pairs from a mapping.");
         return (*dict_method(v, "items").function)({});
       }},
      {"upper",
       [](const Arguments& a) {
         return Value::of(with_case(to_text(a.positional[0]), Case::upper));
       }},
      {"lower",
       [](const Arguments& a) {
         return Value::of(with_case(to_text(a.positional[0]), Case::lower));
       }},
      {"capitalize",
       [](const Arguments& a) {
         return Value::of(with_case(to_text(a.positional[0]), Case::capital));
       }},
      {"title",
       [](const Arguments& a) {
         return Value::of(with_case(to_text(a.positional[0]), Case::title));
       }},
      {"first",
       [](const Arguments& a) {
         const List items = items_of(a.positional[0]);
         return items.empty() ? Value::undefined("No first item, sequence was empty.")
                              : items.front();
       }},
      {"last",
       [](const Arguments& a) {
         const List items = items_of(a.positional[0]);
         return items.empty() ? Value::undefined("No last item, sequence was empty.")
                              : items.back();
       }},
      {"reverse",
       [](const Arguments& a) {
         List items = items_of(a.positional[0]);
         std::reverse(items.begin(), items.end());
         if (!a.positional[0].is(Kind::string)) return Value::of(std::move(items));
         Text out;
         for (const Value& v : items) out.append(*v.text);
         return Value::of(std::move(out));
       }},
      {"map", mapped},
      {"select", [](const Arguments& a) { return selected(a, false, true); }},
      {"reject", [](const Arguments& a) { return selected(a, false, false); }},
      {"selectattr", [](const Arguments& a) { return selected(a, true, true); }},
      {"rejectattr", [](const Arguments& a) { return selected(a, true, false); }},
      {"sort", sorted},
      {"unique", unique},
      {"dictsort", dictsort},
      {"replace",
       [](const Arguments& a) {
         const Value n = argument(a, 3, "count");
         return Value::of(
             replaced(to_text(a.positional[0]), to_text(argument(a, 1, "old")),
                      to_text(argument(a, 2, "new")),
                      is_given(n) && !n.is(Kind::none) ? need_integer(n, "replace") : -1));
       }},
      {"int", to_integer},
      {"float", to_real},
      {"indent", indented},
      {"abs",
       [](const Arguments& a) {
         const Value& v = a.positional[0];
         if (!v.is_number())
           fail("TypeError", "bad operand type for abs(): '" + type_name(v) + "'");
         return v.is(Kind::real) ? Value::of(std::abs(v.real))
                                 : Value::of(absolute(need_integer(v, "abs")));
       }},
      {"round", rounded},
      {"min", [](const Arguments& a) { return extreme(a, -1); }},
      {"max", [](const Arguments& a) { return extreme(a, 1); }},
      {"sum",
       [](const Arguments& a) {
         double real = 0;
         int64_t whole = 0;
         bool is_real = false;
         for (const Value& item : items_of(a.positional[0])) {
           const Value v = optional_attribute(a, 1, item);
           if (!v.is_number()) fail("TypeError", "sum needs numbers, not " + type_name(v));
           is_real = is_real || v.is(Kind::real);
           real += v.number();
           if (!v.is(Kind::real) && __builtin_add_overflow(whole, need_integer(v, "sum"), &whole))
             is_real = true;
         }
         return is_real ? Value::of(real) : Value::of(whole);
       }},
      {"wordcount",
       [](const Arguments& a) {
         return Value::of(
             int64_t(std::ssize(split(to_text(a.positional[0]), Value::undefined(""), -1, false))));
       }},
  };
  return all;
}

using Test = bool (*)(const Arguments&);
const std::map<std::string, Test>& tests() {
  static const Test eq = [](const Arguments& a) {
    return equal(a.positional[0], argument(a, 1, "other"));
  };
  static const Test ne = [](const Arguments& a) {
    return !equal(a.positional[0], argument(a, 1, "other"));
  };
  static const Test lt = [](const Arguments& a) {
    return compare(a.positional[0], argument(a, 1, "other")) < 0;
  };
  static const Test le = [](const Arguments& a) {
    return compare(a.positional[0], argument(a, 1, "other")) <= 0;
  };
  static const Test gt = [](const Arguments& a) {
    return compare(a.positional[0], argument(a, 1, "other")) > 0;
  };
  static const Test ge = [](const Arguments& a) {
    return compare(a.positional[0], argument(a, 1, "other")) >= 0;
  };
  static const auto remainder = [](const Arguments& a, int64_t by) {
    if (by == 0) fail("ZeroDivisionError", "division by zero");
    const int64_t n = need_integer(a.positional[0], "this test");
    return by == -1 ? 0 : n % by;  // the least number has no negative
  };
  static const std::map<std::string, Test> all = {
      {"defined", [](const Arguments& a) { return is_given(a.positional[0]); }},
      {"undefined", [](const Arguments& a) { return !is_given(a.positional[0]); }},
      {"none", [](const Arguments& a) { return a.positional[0].is(Kind::none); }},
      {"string", [](const Arguments& a) { return a.positional[0].is(Kind::string); }},
      {"number", [](const Arguments& a) { return a.positional[0].is_number(); }},
      {"integer", [](const Arguments& a) { return a.positional[0].is(Kind::integer); }},
      {"float", [](const Arguments& a) { return a.positional[0].is(Kind::real); }},
      {"boolean", [](const Arguments& a) { return a.positional[0].is(Kind::boolean); }},
      {"true",
       [](const Arguments& a) {
         return a.positional[0].is(Kind::boolean) && a.positional[0].boolean;
       }},
      {"false",
       [](const Arguments& a) {
         return a.positional[0].is(Kind::boolean) && !a.positional[0].boolean;
       }},
      {"mapping", [](const Arguments& a) { return a.positional[0].is(Kind::dict); }},
      {"iterable",
       [](const Arguments& a) {
         const Value& v = a.positional[0];
         return v.is(Kind::undefined) || v.is(Kind::string) || v.is_sequence() || v.is(Kind::dict);
       }},
      {"sequence",
       [](const Arguments& a) {
         const Value& v = a.positional[0];
         return v.is(Kind::undefined) || v.is(Kind::string) || v.is_sequence() || v.is(Kind::dict);
       }},
      {"callable", [](const Arguments& a) { return a.positional[0].is(Kind::function); }},
      {"sameas",
       [](const Arguments& a) {
         const Value other = argument(a, 1, "other");
         return a.positional[0].kind == other.kind && equal(a.positional[0], other);
       }},
      {"in", [](const Arguments& a) { return contains(argument(a, 1, "seq"), a.positional[0]); }},
      {"even", [](const Arguments& a) { return remainder(a, 2) == 0; }},
      {"odd", [](const Arguments& a) { return remainder(a, 2) != 0; }},
      {"divisibleby",
       [](const Arguments& a) {
         return remainder(a, need_integer(argument(a, 1, "num"), "divisibleby")) == 0;
       }},
      {"lower",
       [](const Arguments& a) {
         return to_lower(to_text(a.positional[0]).bytes) == to_text(a.positional[0]).bytes;
       }},
      {"upper",
       [](const Arguments& a) {
         return upper_of(to_text(a.positional[0]).bytes) == to_text(a.positional[0]).bytes;
       }},
      {"filter",
       [](const Arguments& a) { return has_filter(need_text(a.positional[0], "filter").bytes); }},
      {"test",
       [](const Arguments& a) { return has_test(need_text(a.positional[0], "test").bytes); }},
      {"eq", eq},
      {"equalto", eq},
      {"==", eq},
      {"ne", ne},
      {"!=", ne},
      {"lt", lt},
      {"lessthan", lt},
      {"<", lt},
      {"le", le},
      {"<=", le},
      {"gt", gt},
      {"greaterthan", gt},
      {">", gt},
      {"ge", ge},
      {">=", ge},
  };
  return all;
}

}  // namespace

bool has_filter(const std::string& name) { return filters().contains(name); }
bool has_test(const std::string& name) { return tests().contains(name); }

Value apply_filter(const std::string& name, const Arguments& args) {
  const auto found = filters().find(name);
  if (found == filters().end())
    fail("TemplateRuntimeError", "No filter named '" + printable(name, 40) + "'.");
  Budget::spend(1);
  return found->second(args);
}
bool apply_test(const std::string& name, const Arguments& args) {
  const auto found = tests().find(name);
  if (found == tests().end())
    fail("TemplateRuntimeError", "No test named '" + printable(name, 40) + "'.");
  Budget::spend(1);
  return found->second(args);
}

Value method_of(const Value& value, const std::string& name) {
  if (value.is(Kind::string)) return string_method(value, name);
  if (value.is(Kind::dict)) return dict_method(value, name);
  if (value.is_sequence()) return list_method(value, name);
  return Value::undefined(name);
}

Value attribute_of(const Value& value, const std::string& name) {
  if (value.is(Kind::undefined)) need_defined(value);
  if (value.is(Kind::dict) || value.is(Kind::space)) {
    if (const Value* found = value.find(std::string_view(name))) return *found;
    if (value.is(Kind::space)) return Value::undefined(name);
  }
  return method_of(value, name);
}

Value item_of(const Value& value, const Value& key) {
  if (value.is(Kind::undefined)) need_defined(value);
  if (value.is(Kind::dict) || value.is(Kind::space)) {
    if (const Value* found = value.find(key)) return *found;
    return key.is(Kind::string) && value.is(Kind::dict) ? dict_method(value, key.bytes())
                                                        : Value::undefined(to_text(key).bytes);
  }
  if (key.is(Kind::integer) || key.is(Kind::boolean)) {
    int64_t i = key.is(Kind::boolean) ? int64_t(key.boolean) : key.integer;
    if (value.is(Kind::string)) {
      const int64_t n = count_code_points(value.bytes());
      if (i < 0) i += n;
      if (i < 0 || i >= n) return Value::undefined("an index out of range");
      size_t at = 0;
      while (i-- > 0) at += code_point_at(value.bytes(), at).size;
      return Value::of(value.text->substr(at, code_point_at(value.bytes(), at).size));
    }
    if (value.is_sequence()) {
      const int64_t n = std::ssize(*value.list);
      if (i < 0) i += n;
      return i < 0 || i >= n ? Value::undefined("an index out of range") : (*value.list)[size_t(i)];
    }
  }
  if (key.is(Kind::string)) return method_of(value, key.bytes());
  return Value::undefined(to_text(key).bytes);
}

List items_of(const Value& value) {
  switch (value.kind) {
    case Kind::undefined: return {};
    case Kind::list:
    case Kind::tuple: Budget::spend(std::ssize(*value.list) / 8); return *value.list;
    case Kind::dict: {
      List out;
      for (const auto& [key, unused] : *value.dict) out.push_back(key);
      return out;
    }
    case Kind::string: {
      List out;
      Budget::check_size(value.bytes().size() * sizeof(Value) / 8);
      for (Text& c : characters_of(*value.text)) out.push_back(Value::of(std::move(c)));
      return out;
    }
    default: fail("TypeError", "'" + type_name(value) + "' object is not iterable");
  }
}

bool contains(const Value& container, const Value& item) {
  Budget::spend(1);
  switch (container.kind) {
    case Kind::undefined: return false;
    case Kind::string:
      return container.bytes().find(need_text(item, "in").bytes) != std::string::npos;
    case Kind::list:
    case Kind::tuple:
      return std::any_of(container.list->begin(), container.list->end(),
                         [&](const Value& v) { return equal(v, item); });
    case Kind::dict: return container.find(item) != nullptr;
    default: fail("TypeError", "argument of type '" + type_name(container) + "' is not iterable");
  }
}

int compare(const Value& a, const Value& b) {
  Budget::spend(1);
  need_defined(a);
  need_defined(b);
  if (a.is_number() && b.is_number()) {
    if (!a.is(Kind::real) && !b.is(Kind::real)) {
      const int64_t x = need_integer(a, "<"), y = need_integer(b, "<");
      return x < y ? -1 : x > y;
    }
    return a.number() < b.number() ? -1 : a.number() > b.number();
  }
  if (a.is(Kind::string) && b.is(Kind::string))
    return a.bytes().compare(b.bytes());  // UTF-8 keeps the order
  if (a.is_sequence() && a.kind == b.kind) {
    for (size_t i = 0; i < std::min(a.list->size(), b.list->size()); ++i)
      if (const int order = compare((*a.list)[i], (*b.list)[i])) return order;
    return a.list->size() < b.list->size() ? -1 : a.list->size() > b.list->size();
  }
  fail("TypeError",
       "'<' not supported between instances of '" + type_name(a) + "' and '" + type_name(b) + "'");
}

}  // namespace moe::jinja
