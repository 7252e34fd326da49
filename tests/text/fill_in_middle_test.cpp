// SPDX-License-Identifier: MIT
#include "moe/text/fill_in_middle.h"

#include <gtest/gtest.h>

#include "moe/base/rng.h"
#include "moe/text/trainers/tokenizer_trainer.h"

#include "tests/base/temp_folder.h"

namespace moe {
namespace {

std::shared_ptr<const Tokenizer> with_markers() {
  static const std::shared_ptr<const Tokenizer> kOne = [] {
    const TempFolder folder;
    write_file_atomic(real_fs(), folder / "text.txt", "def f(x):\n  return x + 1\n");
    TokenizerTraining t;
    t.files = {folder / "text.txt"};
    t.vocab_size = 262;
    t.special_tokens = {"<|endoftext|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"};
    return std::shared_ptr<const Tokenizer>(train_tokenizer(t).tokenizer);
  }();
  return kOne;
}

TEST(FillInMiddle, TokenizersWithoutMarkersHaveNone) {
  EXPECT_FALSE(find_fim_markers(*make_byte_tokenizer()));
  EXPECT_FALSE(find_fim_markers(*make_char_tokenizer({U'a', U'b'})));  // which cannot spell them
}

TEST(FillInMiddle, ASampleHoldsTheWholeTextInThreeParts) {
  const auto tokenizer = with_markers();
  const auto markers = find_fim_markers(*tokenizer);
  ASSERT_TRUE(markers);
  const std::string text = "a β c 伽 e";
  const RngStream draws(1, 0, "cuts");
  for (int64_t i = 0; i < 200; ++i) {
    const std::vector<TokenId> ids =
        fim_sample(*markers, *tokenizer, text, draws.bits(i, 0), draws.bits(i, 1));
    ASSERT_EQ(ids[0], markers->prefix);
    std::string parts[3];
    int part = 0;
    for (size_t k = 1; k < ids.size(); ++k) {
      if (ids[k] == markers->suffix || ids[k] == markers->middle)
        ++part;
      else
        parts[part] += tokenizer->token_bytes(ids[k]);
    }
    ASSERT_EQ(part, 2);
    EXPECT_EQ(parts[0] + parts[2] + parts[1], text);
    for (const std::string& p : parts)  // no character is cut
      EXPECT_TRUE(p.empty() || (uint8_t(p[0]) & 0xC0) != 0x80);
  }
}

}  // namespace
}  // namespace moe
