// SPDX-License-Identifier: MIT
// The byte tokenizer: id = byte value, 256 = "<|endoftext|>". It knows every text and needs no
// training (ByT5, Xue et al. 2021, arXiv:2105.13626, uses the same idea with other ids).
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
    std::vector<TokenId> ids;
    ids.reserve(text.size());
    while (!text.empty()) {
      const size_t special =
          specials == SpecialTokens::parse ? text.find(kEndOfText) : std::string_view::npos;
      for (const char c : text.substr(0, special)) ids.push_back(static_cast<uint8_t>(c));
      if (special == std::string_view::npos) break;
      ids.push_back(kEndOfTextId);
      text.remove_prefix(special + kEndOfText.size());
    }
    return ids;
  }

  std::string_view token_bytes(TokenId id) const override {
    MOE_CHECK(id >= 0 && id <= kEndOfTextId, "[tokenizer] id ", id,
              " is not one of the byte tokenizer's 0 .. 256");
    if (id == kEndOfTextId) return kEndOfText;
    return std::string_view(bytes_.data() + id, 1);
  }

 private:
  std::array<char, 256> bytes_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_byte_tokenizer() { return std::make_unique<ByteTokenizer>(); }

}  // namespace moe
