// SPDX-License-Identifier: MIT
// Tokenizers of every kind against Hugging Face `tokenizers`: tests/golden/tokenizers holds files
// that library made and its ids for random Unicode strings (tools/check_tokenizers.py --write).
#include <gtest/gtest.h>

#include "moe/base/fs.h"
#include "moe/base/json.h"
#include "moe/base/parallel.h"
#include "moe/base/str.h"
#include "moe/text/encode_batch.h"
#include "moe/text/tokenizer_files.h"
#include "moe/text/tokenizer_json.h"
#include "moe/text/utf8_stream.h"

namespace moe {
namespace {

const std::string kGolden = MOE_GOLDEN_DIR "/tokenizers/";
constexpr std::string_view kEnding = ".cases.json";

std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const std::string& name : list_directory(kGolden))
    if (ends_with(name, kEnding)) names.push_back(name.substr(0, name.size() - kEnding.size()));
  return names;
}

std::vector<TokenId> ids_of(const Json& list) {
  std::vector<TokenId> ids;
  for (const Json& id : list.as_array()) ids.push_back(static_cast<TokenId>(id.as_int64()));
  return ids;
}

std::string as_utf8(std::string_view bytes) {
  Utf8Stream utf8;
  std::string text = utf8.push(bytes);
  return text += utf8.finish();
}

class TokenizerGolden : public testing::TestWithParam<std::string> {};

TEST_P(TokenizerGolden, EqualsTheLibrary) {
  const auto tokenizer = read_tokenizer(kGolden + GetParam() + ".tokenizer.json");
  const SpecialFrame frame = read_post_processor(tokenizer->spec()->post_processor, "x");
  const Json cases = read_json(kGolden + GetParam() + std::string(kEnding), "[golden]");
  ASSERT_GE(cases.as_array().size(), 30u);
  const std::optional<TokenId> unk = tokenizer->spec()->model.unk_id;
  for (const Json& item : cases.as_array()) {
    const std::string text(item.at("text").as_string());
    const std::vector<TokenId> parsed = tokenizer->encode(text, SpecialTokens::parse),
                               plain = ids_of(item.at("plain"));
    EXPECT_EQ(parsed, ids_of(item.at("parsed"))) << text;
    std::vector<TokenId> framed = frame.before;
    framed.insert(framed.end(), parsed.begin(), parsed.end());
    framed.insert(framed.end(), frame.after.begin(), frame.after.end());
    EXPECT_EQ(framed, ids_of(item.at("framed"))) << text;
    EXPECT_EQ(as_utf8(tokenizer->decode(parsed)), std::string_view(item.at("decoded").as_string()))
        << text;
    // Where theirs lets a special token through that is also a word of the model, ours does not.
    const std::vector<TokenId> ours = tokenizer->encode(text);
    const auto marker = [&](TokenId id) { return tokenizer->is_special(id) && id != unk; };
    const bool has_unknown =
        text.find("<unk>") != std::string::npos || text.find("[UNK]") != std::string::npos;
    if (std::any_of(plain.begin(), plain.end(), marker) || has_unknown)
      EXPECT_TRUE(std::none_of(ours.begin(), ours.end(), marker)) << text;
    else
      EXPECT_EQ(ours, plain) << text;
  }
}

// Ids and texts of `sentencepiece` itself for models with unused and user-defined pieces
// (tools/check_sentencepiece.py --write), and the same from the tokenizer.json that we write.
TEST(SentencePieceGolden, EqualsTheLibrary) {
  const std::string folder = MOE_GOLDEN_DIR "/sentencepiece/";
  int n_models = 0;
  for (const std::string& file : list_directory(folder)) {
    if (!ends_with(file, ".model")) continue;
    ++n_models;
    const auto tokenizer = read_tokenizer(folder + file);
    const auto again = tokenizer_from_json(tokenizer_to_json(*tokenizer), "x");
    const std::string name = file.substr(0, file.size() - std::string(".model").size());
    const Json cases = read_json(folder + name + std::string(kEnding), "[golden]");
    ASSERT_GE(cases.as_array().size(), 30u);
    for (const Json& item : cases.as_array()) {
      const std::string text(item.at("text").as_string());
      const std::vector<TokenId> want = ids_of(item.at("ids"));
      EXPECT_EQ(tokenizer->encode(text), want) << name << ": " << text;
      EXPECT_EQ(again->encode(text), want) << name << ": " << text;
      const std::string decoded(item.at("decoded").as_string());
      if (decoded.find("\u2047") != std::string::npos) continue;  // theirs for <unk>
      EXPECT_EQ(as_utf8(tokenizer->decode(want)), decoded) << name;
      EXPECT_EQ(as_utf8(again->decode(want)), decoded) << name;
    }
  }
  EXPECT_EQ(n_models, 7);
}

TEST_P(TokenizerGolden, MarksHideSpecialTokensAndNothingElse) {
  const auto tokenizer = read_tokenizer(kGolden + GetParam() + ".tokenizer.json");
  const Json cases = read_json(kGolden + GetParam() + std::string(kEnding), "[golden]");
  for (const Json& item : cases.as_array()) {
    const std::string text(item.at("text").as_string());
    EXPECT_EQ(tokenizer->encode_marked(text, std::string(text.size(), '\1')),
              tokenizer->encode(text));
    EXPECT_EQ(tokenizer->encode_marked(text, std::string(text.size(), '\0')),
              tokenizer->encode_marked(text, {}));
  }
  for (const AddedToken& token : tokenizer->spec()->added_tokens) {
    // The unknown token also stands for what has none.
    const bool is_unknown = token.id == tokenizer->spec()->model.unk_id;
    if (!token.special || token.normalized || token.single_word || is_unknown) continue;
    // The same marker twice: once the program's, once a person's.
    const std::string text = token.content + " a " + token.content;
    std::string marks(text.size(), '\0');
    marks.back() = '\1';
    const std::vector<TokenId> ids = tokenizer->encode_marked(text, marks);
    ASSERT_FALSE(ids.empty());
    EXPECT_EQ(ids[0], token.id);
    EXPECT_EQ(std::count(ids.begin(), ids.end(), token.id), 1) << token.content;
  }
}

TEST_P(TokenizerGolden, IsTheSameDocumentWhenWritten) {
  const std::string path = kGolden + GetParam() + ".tokenizer.json";
  const Json theirs = read_json(path, "[golden]");
  const std::string written = tokenizer_to_json(*read_tokenizer(path));
  const Json ours = parse_json(written, "x", 16);
  for (const char* key :
       {"added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder"})
    EXPECT_EQ(ours.at(key), theirs.at(key)) << key;
  EXPECT_EQ(ours.at("model"), theirs.at("model"));
  EXPECT_EQ(tokenizer_to_json(*tokenizer_from_json(written, "x")), written);
}

TEST_P(TokenizerGolden, ThreadsAndCutsChangeNothing) {
  const auto tokenizer = read_tokenizer(kGolden + GetParam() + ".tokenizer.json");
  const Json cases = read_json(kGolden + GetParam() + std::string(kEnding), "[golden]");
  std::vector<std::string> texts;
  std::string all;
  for (const Json& item : cases.as_array()) {
    texts.emplace_back(item.at("text").as_string());
    all += texts.back() + (texts.size() % 3 ? "\nthe next " : "\n");
  }
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  std::vector<std::vector<TokenId>> want;
  for (const std::string& text : texts) want.push_back(tokenizer->encode(text));
  const int before = n_threads();
  for (const int n : {1, 3}) {
    set_threads(n);
    EXPECT_EQ(encode_batch(*tokenizer, views), want);
  }
  set_threads(before);
  if (!tokenizer->cuts_at_lines()) return;
  std::vector<TokenId> in_parts;
  size_t n_parts = 0;
  for (size_t begin = 0; begin < all.size(); ++n_parts) {
    const size_t end = line_cut(all, begin + 40);
    const auto ids = tokenizer->encode(std::string_view(all).substr(begin, end - begin));
    in_parts.insert(in_parts.end(), ids.begin(), ids.end());
    begin = end;
  }
  EXPECT_GT(n_parts, 5u);
  EXPECT_EQ(in_parts, tokenizer->encode(all));
}

INSTANTIATE_TEST_SUITE_P(Kinds, TokenizerGolden, testing::ValuesIn(golden_names()),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name)
                             if (c == '-') c = '_';
                           return name;
                         });

}  // namespace
}  // namespace moe
