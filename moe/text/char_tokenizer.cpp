// SPDX-License-Identifier: MIT
// The char tokenizer: one id per code point of the training text, in ascending order, as in
// nanoGPT's data/shakespeare_char/prepare.py. A character that the training text did not hold has
// no id and is an error.
#include <fmt/format.h>
#include <unordered_map>

#include "moe/base/error.h"
#include "moe/base/utf8.h"
#include "moe/text/tokenizer.h"

namespace moe {
namespace {

class CharTokenizer : public Tokenizer {
 public:
  explicit CharTokenizer(const std::vector<char32_t>& code_points) {
    MOE_CHECK(!code_points.empty(), "[tokenizer] a char tokenizer needs at least one character");
    ids_.reserve(code_points.size());
    for (const char32_t c : code_points) {
      MOE_CHECK(c < 0xD800 || (c > 0xDFFF && c <= 0x10FFFF), "[tokenizer] ",
                static_cast<uint32_t>(c), " is not the number of a character");
      const bool is_new = ids_.emplace(c, static_cast<TokenId>(ids_.size())).second;
      MOE_CHECK(is_new, "[tokenizer] a char tokenizer's characters must differ, ", name(c),
                " comes twice");
      std::string bytes;
      append_utf8(bytes, c);
      bytes_.push_back(std::move(bytes));
    }
  }
  std::string kind() const override { return "char"; }
  bool cuts_at_lines() const override { return true; }
  int64_t vocab_size() const override { return static_cast<int64_t>(bytes_.size()); }

  std::vector<TokenId> encode(std::string_view text, SpecialTokens) const override {
    std::vector<TokenId> ids;
    ids.reserve(text.size());
    for (size_t offset = 0; offset < text.size();) {
      const Utf8Unit unit = next_utf8(text.substr(offset));
      MOE_CHECK(
          unit.state == Utf8State::complete, "[tokenizer] byte ", offset,
          " is not UTF-8 text; a char tokenizer needs UTF-8 (tokenizer: byte takes any bytes)");
      const auto found = ids_.find(unit.code_point);
      MOE_CHECK(found != ids_.end(), "[tokenizer] character ", name(unit.code_point), " at byte ",
                offset, " is not in the char tokenizer's vocabulary of ", vocab_size(),
                " characters; it was not in the training text (tokenizer: byte takes any text)");
      ids.push_back(found->second);
      offset += unit.size;
    }
    return ids;
  }

  std::vector<TokenId> encode_marked(std::string_view text, std::string_view) const override {
    return encode(text, SpecialTokens::as_text);  // there are none
  }

  std::string_view token_bytes(TokenId id) const override {
    MOE_CHECK(id >= 0 && id < vocab_size(), "[tokenizer] id ", id,
              " is not one of the char tokenizer's 0 .. ", vocab_size() - 1);
    return bytes_[static_cast<size_t>(id)];
  }

 private:
  static std::string name(char32_t c) {
    std::string bytes;
    append_utf8(bytes, c);
    return fmt::format("'{}' (U+{:04X})", printable(bytes), static_cast<uint32_t>(c));
  }

  std::unordered_map<char32_t, TokenId> ids_;
  std::vector<std::string> bytes_;  // by id
};

}  // namespace

std::vector<char32_t> distinct_code_points(std::string_view text) {
  MOE_CHECK(!text.empty(), "[tokenizer] a char tokenizer needs a training text; this one is empty");
  std::vector<bool> seen(0x110000);
  for (size_t offset = 0; offset < text.size();) {
    const Utf8Unit unit = next_utf8(text.substr(offset));
    MOE_CHECK(unit.state == Utf8State::complete, "[tokenizer] byte ", offset,
              " of the training text is not UTF-8");
    seen[unit.code_point] = true;
    offset += unit.size;
  }
  std::vector<char32_t> out;
  for (char32_t c = 0; c < seen.size(); ++c) {
    if (seen[c]) out.push_back(c);
  }
  return out;
}

std::unique_ptr<Tokenizer> make_char_tokenizer(std::vector<char32_t> code_points) {
  return std::make_unique<CharTokenizer>(code_points);
}

}  // namespace moe
