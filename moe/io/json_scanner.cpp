// SPDX-License-Identifier: MIT
// The scanner behind json_scanner.h: RFC 8259 without extensions (no comments, no trailing commas,
// no lone surrogates).
#include "moe/io/json_scanner.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "moe/base/error.h"
#include "moe/base/rng.h"
#include "moe/base/str.h"

namespace moe {
namespace {

constexpr int kMaxDepth = 64;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += char(code);
  } else if (code < 0x800) {
    out += {char(0xC0 | code >> 6), char(0x80 | (code & 0x3F))};
  } else if (code < 0x10000) {
    out += {char(0xE0 | code >> 12), char(0x80 | (code >> 6 & 0x3F)), char(0x80 | (code & 0x3F))};
  } else {
    out += {char(0xF0 | code >> 18), char(0x80 | (code >> 12 & 0x3F)),
            char(0x80 | (code >> 6 & 0x3F)), char(0x80 | (code & 0x3F))};
  }
}

}  // namespace

void JsonScanner::fail(std::string_view reason) const {
  throw Error(str(what_, ": JSON byte ", at_, ": ", reason));
}

void JsonScanner::skip_space() {
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return;
    ++at_;
  }
}

void JsonScanner::expect(char c, std::string_view where) {
  skip_space();
  if (at_ >= text_.size()) fail(str("the text ends where '", c, "' belongs (", where, ")"));
  if (text_[at_] != c)
    fail(str("'", printable(text_.substr(at_, 1)), "' where '", c, "' belongs (", where, ")"));
  ++at_;
}

void JsonScanner::begin_object() {
  expect('{', "start of an object");
  fresh_ = true;
}

void JsonScanner::begin_array() {
  expect('[', "start of a list");
  fresh_ = true;
}

bool JsonScanner::next_key(std::string& key, size_t max_bytes) {
  skip_space();
  const bool first = std::exchange(fresh_, false);
  if (peek() == '}') {
    ++at_;
    return false;
  }
  if (!first) expect(',', "between the members of an object");
  key = string(max_bytes);
  expect(':', "after a key");
  return true;
}

bool JsonScanner::next_element() {
  skip_space();
  const bool first = std::exchange(fresh_, false);
  if (peek() == ']') {
    ++at_;
    return false;
  }
  if (!first) expect(',', "between the values of a list");
  return true;
}

uint32_t JsonScanner::hex4() {
  uint32_t code = 0;
  for (int i = 0; i < 4; ++i, ++at_) {
    const char c = peek();
    if (is_digit(c))
      code = code * 16 + uint32_t(c - '0');
    else if (c >= 'a' && c <= 'f')
      code = code * 16 + uint32_t(c - 'a' + 10);
    else if (c >= 'A' && c <= 'F')
      code = code * 16 + uint32_t(c - 'A' + 10);
    else
      fail("\\u wants four hexadecimal digits");
  }
  return code;
}

std::string JsonScanner::string(size_t max_bytes) {
  expect('"', "start of a string");
  std::string out;
  for (;;) {
    if (out.size() > max_bytes) fail(str("a string is longer than ", max_bytes, " bytes"));
    // The plain run up to the next quote or escape, checked against the limit before it is copied.
    size_t end = at_;
    while (end < text_.size() && text_[end] != '"' && text_[end] != '\\' &&
           static_cast<unsigned char>(text_[end]) >= 0x20)
      ++end;
    if (end - at_ > max_bytes - out.size())
      fail(str("a string is longer than ", max_bytes, " bytes"));
    const std::string_view run = text_.substr(at_, end - at_);
    if (const size_t bad = first_invalid_utf8(run); bad != std::string_view::npos) {
      at_ += bad;
      fail("a string is not valid UTF-8");
    }
    out += run;
    at_ = end;
    if (at_ >= text_.size()) fail("the text ends inside a string");
    const char c = text_[at_];
    if (c == '"') break;
    if (c != '\\') fail("a control character inside a string");
    ++at_;
    const char escape = peek();
    ++at_;
    switch (escape) {
      case '"':
      case '\\':
      case '/': out += escape; break;
      case 'b': out += '\b'; break;
      case 'f': out += '\f'; break;
      case 'n': out += '\n'; break;
      case 'r': out += '\r'; break;
      case 't': out += '\t'; break;
      case 'u': {
        uint32_t code = hex4();
        if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_, 2) == "\\u") {
          at_ += 2;
          const uint32_t low = hex4();
          if (low < 0xDC00 || low > 0xDFFF) fail("half of a surrogate pair");
          code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        } else if (code >= 0xD800 && code <= 0xDFFF) {
          fail("half of a surrogate pair");
        }
        append_utf8(out, code);
        break;
      }
      default: --at_; fail("an unknown escape in a string");
    }
  }
  ++at_;
  return out;
}

uint64_t JsonScanner::unsigned_integer() {
  skip_space();
  const size_t begin = at_;
  uint64_t value = 0;
  while (is_digit(peek())) {
    if (__builtin_mul_overflow(value, uint64_t{10}, &value) ||
        __builtin_add_overflow(value, uint64_t(peek() - '0'), &value))
      fail("a number does not fit in 64 bits");
    ++at_;
  }
  const bool leading_zero = at_ - begin > 1 && text_[begin] == '0';
  const char next = peek();
  if (at_ == begin || leading_zero || next == '.' || next == 'e' || next == 'E')
    fail("a whole number >= 0 belongs here");
  return value;
}

void JsonScanner::skip_number() {
  if (peek() == '-') ++at_;
  const size_t begin = at_;
  while (is_digit(peek())) ++at_;
  if (at_ == begin || (at_ - begin > 1 && text_[begin] == '0')) fail("not a JSON value");
  const auto digits = [&] {
    const size_t first = at_;
    while (is_digit(peek())) ++at_;
    if (at_ == first) fail("a number without digits");
  };
  if (peek() == '.') {
    ++at_;
    digits();
  }
  if (peek() == 'e' || peek() == 'E') {
    ++at_;
    if (peek() == '+' || peek() == '-') ++at_;
    digits();
  }
}

void JsonScanner::skip_value(int depth) {
  if (depth > kMaxDepth) fail(str("nested deeper than ", kMaxDepth));
  skip_space();
  switch (peek()) {
    case '{': {
      begin_object();
      std::string key;
      std::vector<uint64_t>
          seen;  // hashes: 8 bytes a key, where a key takes at least 5 of the text
      while (next_key(key, text_.size())) {
        seen.push_back(stable_hash(key));
        skip_value(depth + 1);
      }
      std::sort(seen.begin(), seen.end());
      if (std::adjacent_find(seen.begin(), seen.end()) != seen.end())
        fail("a key occurs twice in the object that ends here");
      return;
    }
    case '[':
      begin_array();
      while (next_element()) skip_value(depth + 1);
      return;
    case '"': string(text_.size()); return;
    default: break;
  }
  for (const std::string_view word : {"true", "false", "null"})
    if (text_.substr(at_, word.size()) == word) {
      at_ += word.size();
      return;
    }
  skip_number();
}

void JsonScanner::finish() {
  skip_space();
  if (at_ != text_.size()) fail("text after the end of the JSON value");
}

void append_json_string(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (const auto byte = static_cast<unsigned char>(c); byte < 0x20)
          out += {'\\', 'u', '0', '0', kHex[byte >> 4], kHex[byte & 15]};
        else
          out += c;
    }
  }
  out += '"';
}

}  // namespace moe
