// SPDX-License-Identifier: MIT
// A strict JSON scanner (RFC 8259) that the caller drives value by value, so that the header of a
// safetensors file of 100 MB or a checkpoint manifest is read without ever building a document in
// memory. It allocates the strings it returns and, for objects that are skipped, 8 bytes a key. For
// small files where a tree is handier, see moe/base/json.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace moe {

class JsonScanner {
 public:
  /// what: how errors call the source, e.g. "[safetensors] path". text must outlive the scanner.
  JsonScanner(std::string_view text, std::string what) : text_(text), what_(std::move(what)) {}

  /// Objects: begin_object(), then while (next_key(key)) read exactly one value.
  void begin_object();
  bool next_key(std::string& key, size_t max_bytes);
  /// Arrays: begin_array(), then while (next_element()) read exactly one value.
  void begin_array();
  bool next_element();

  /// Escapes decoded, UTF-8 checked. Throws Error when the value is longer than max_bytes.
  std::string string(size_t max_bytes);
  /// A whole number from 0 to 2^64 - 1 written in digits alone (no sign, fraction or exponent).
  uint64_t unsigned_integer();
  /// Steps over any value, nested at most 64 deep. Throws Error for an object with a key twice.
  void skip_value() { skip_value(0); }
  /// Throws Error when anything but white space is left.
  void finish();

  /// Throws Error: what, the byte offset now, the reason.
  [[noreturn]] void fail(std::string_view reason) const;

 private:
  void skip_space();
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void expect(char c, std::string_view where);
  void skip_value(int depth);
  void skip_number();
  uint32_t hex4();

  std::string_view text_;
  std::string what_;
  size_t at_ = 0;
  bool fresh_ = false;  // just after '{' or '[': no comma yet
};

/// Appends text as a JSON string, escaped as serde_json does (what the safetensors library writes):
/// the quote, the backslash and control characters only.
void append_json_string(std::string& out, std::string_view text);

}  // namespace moe
