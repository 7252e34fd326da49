// SPDX-License-Identifier: MIT
#include "moe/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "moe/base/error.h"

namespace moe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(ByteTokenizer, IdsAreTheByteValues) {
  const auto tokenizer = make_byte_tokenizer();
  EXPECT_EQ(tokenizer->vocab_size(), 257);
  EXPECT_THAT(tokenizer->encode("a\n\xC3\xA9"), ElementsAre(97, 10, 0xC3, 0xA9));
  EXPECT_THAT(tokenizer->encode(""), ElementsAre());
}

TEST(ByteTokenizer, KeepsAllBytesThroughARoundTrip) {
  const auto tokenizer = make_byte_tokenizer();
  std::string all;
  for (int b = 255; b >= 0; --b) all.push_back(static_cast<char>(b));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(all)), all);
}

TEST(ByteTokenizer, AMarkedEndOfTextIsText) {
  const auto tokenizer = make_byte_tokenizer();
  const std::string text = "<|endoftext|>a<|endoftext|>";
  std::string marks(text.size(), '\0');
  EXPECT_THAT(tokenizer->encode_marked(text, marks), ElementsAre(256, 'a', 256));
  marks[16] = '\2';
  EXPECT_EQ(tokenizer->encode_marked(text, marks).size(), 1u + 1 + 13);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode_marked(text, marks)), "a<|endoftext|>");
}

TEST(ByteTokenizer, ReadsTheEndOfTextMarkAsOneId) {
  const auto tokenizer = make_byte_tokenizer();
  EXPECT_EQ(tokenizer->eos_id(), 256);
  EXPECT_EQ(tokenizer->bos_id(), std::nullopt);
  EXPECT_THAT(tokenizer->encode("a<|endoftext|>b<|endoftext|>", SpecialTokens::parse),
              ElementsAre('a', 256, 'b', 256));
  EXPECT_EQ(tokenizer->encode("<|endoftext|<|endoftext|>", SpecialTokens::parse).size(), 13u);
}

TEST(ByteTokenizer, LeavesSpecialTokensOutOfDecodedText) {
  const auto tokenizer = make_byte_tokenizer();
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{'a', 256, 'b'}), "ab");
  EXPECT_EQ(tokenizer->token_bytes(256), "<|endoftext|>");
}

TEST(ByteTokenizer, RefusesIdsOutOfRange) {
  const auto tokenizer = make_byte_tokenizer();
  EXPECT_THROW(tokenizer->token_bytes(257), Error);
  EXPECT_THROW(tokenizer->decode(std::vector<TokenId>{-1}), Error);
}

TEST(CharTokenizer, OrdersTheCharactersOfTheTrainingText) {
  const auto tokenizer = make_char_tokenizer(distinct_code_points("hello é\n"));
  EXPECT_EQ(tokenizer->vocab_size(), 7);  // \n, space, e, h, l, o, é
  EXPECT_THAT(tokenizer->encode("\n hole é"), ElementsAre(0, 1, 3, 5, 4, 2, 1, 6));
  EXPECT_EQ(tokenizer->eos_id(), std::nullopt);
}

TEST(CharTokenizer, DecodesWhatItEncoded) {
  const std::string text = "漢字 😀\r\n\t\x01z";
  const auto tokenizer = make_char_tokenizer(distinct_code_points(text));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  EXPECT_EQ(tokenizer->encode(text).size(), 9u);
}

TEST(CharTokenizer, NamesTheFirstUnknownCharacterAndItsByte) {
  const auto tokenizer = make_char_tokenizer(distinct_code_points("abé"));
  EXPECT_THAT(error_of([&] { tokenizer->encode("aéxy"); }), HasSubstr("'x' (U+0078) at byte 3"));
  EXPECT_THAT(error_of([&] { tokenizer->encode("a\n"); }), HasSubstr("(U+000A) at byte 1"));
}

TEST(CharTokenizer, NamesTheByteThatIsNotUtf8) {
  const auto tokenizer = make_char_tokenizer(distinct_code_points("ab"));
  EXPECT_THAT(error_of([&] { tokenizer->encode("ab\xFF"); }), HasSubstr("byte 2"));
  EXPECT_THAT(error_of([] { distinct_code_points("ab\xE6\xBC"); }), HasSubstr("byte 2"));
}

TEST(CharTokenizer, RefusesAVocabularyThatIsEmptyRepeatedOrNoCharacters) {
  EXPECT_THROW(make_char_tokenizer({}), Error);
  EXPECT_THROW(make_char_tokenizer({U'a', U'b', U'a'}), Error);
  EXPECT_THROW(make_char_tokenizer({char32_t{0xD800}}), Error);
  EXPECT_THROW(make_char_tokenizer({char32_t{0x110000}}), Error);
  EXPECT_THROW(distinct_code_points(""), Error);
}

}  // namespace
}  // namespace moe
