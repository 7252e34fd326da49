// SPDX-License-Identifier: MIT
// The byte tokenizer: id = byte value, 256 = "<|endoftext|>". It knows every text and needs no
// training (ByT5, Xue et al. 2021, arXiv:2105.13626, uses the same idea with other ids).
#include <algorithm>
#include <array>

#include "moe/base/error.h"
#include "moe/text/tokenizer.h"

namespace moe {
namespace {

constexpr TokenId kEndOfTextId = 256;

class ByteTokenizer : public Tokenizer {
 public:
  ByteTokenizer() {
    for (size_t i = 0; i < bytes_.size(); ++i) bytes_[i] = static_cast<char>(i);
  }
  std::string kind() const override { return "byte"; }
  bool cuts_at_lines() const override { return true; }
  int64_t vocab_size() const override { return kEndOfTextId + 1; }
  std::optional<TokenId> eos_id() const override { return kEndOfTextId; }

  std::vector<TokenId> encode(std::string_view text, SpecialTokens specials) const override {
    if (specials == SpecialTokens::parse) return encode_marked(text, {});
    return ids_of(text);
  }

  std::vector<TokenId> encode_marked(std::string_view text, std::string_view marks) const override {
    std::vector<TokenId> ids;
    ids.reserve(text.size());
    size_t done = 0;
    for (size_t at; (at = text.find(kEndOfText, done)) != std::string_view::npos;) {
      const std::string_view own = marks.substr(std::min(at, marks.size()), kEndOfText.size());
      const bool is_text = own.find_first_not_of('\0') != std::string_view::npos;
      const size_t end = at + kEndOfText.size();
      for (const TokenId id : ids_of(text.substr(done, (is_text ? end : at) - done)))
        ids.push_back(id);
      if (!is_text) ids.push_back(kEndOfTextId);
      done = end;
    }
    for (const TokenId id : ids_of(text.substr(done))) ids.push_back(id);
    return ids;
  }

  std::string_view token_bytes(TokenId id) const override {
    MOE_CHECK(id >= 0 && id <= kEndOfTextId, "[tokenizer] id ", id,
              " is not one of the byte tokenizer's 0 .. 256");
    if (id == kEndOfTextId) return kEndOfText;
    return std::string_view(bytes_.data() + id, 1);
  }

 private:
  static std::vector<TokenId> ids_of(std::string_view text) {
    std::vector<TokenId> ids(text.size());
    std::transform(text.begin(), text.end(), ids.begin(),
                   [](char c) { return TokenId(static_cast<uint8_t>(c)); });
    return ids;
  }

  std::array<char, 256> bytes_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_byte_tokenizer() { return std::make_unique<ByteTokenizer>(); }

}  // namespace moe
