// SPDX-License-Identifier: MIT
// Published vocabularies and the answers of the libraries that made them. They are not part of this
// repository; MOE_PUBLISHED_FILES names a folder that holds them: vocab/gpt2.tiktoken,
// golden/pretok.jsonl (texts and their pieces by pattern), golden/tokenize.json (counts of ids) and
// llama.cpp-vectors/ (ggml-vocab.inp, gpt-2.out). What is absent is skipped.
#include <cstdlib>
#include <gtest/gtest.h>

#include "moe/base/fs.h"
#include "moe/base/json.h"
#include "moe/text/piece_scanner.h"
#include "moe/text/pre_tokenizer.h"
#include "moe/text/tokenizer_files.h"

namespace moe {
namespace {

std::string published(const std::string& name) {
  const char* folder = std::getenv("MOE_PUBLISHED_FILES");
  const std::string path = folder ? join_path(folder, name) : "";
  return folder && exists(path) ? path : "";
}

std::vector<std::string> lines_of(const std::string& text, const std::string& separator) {
  std::vector<std::string> out;
  size_t begin = 0;
  for (size_t end; (end = text.find(separator, begin)) != std::string::npos;
       begin = end + separator.size())
    out.push_back(text.substr(begin, end - begin));
  out.push_back(text.substr(begin));
  return out;
}

std::vector<std::string> pieces_of(std::vector<std::string_view> patterns,
                                   const std::string& text) {
  Pieces pieces;
  if (!text.empty()) pieces.list = {text};
  for (const std::string_view name : patterns) {
    const std::string regex(name[0] == '=' ? name.substr(1) : find_split_pattern(name).regex);
    make_pre_tokenizer(
        JsonObject{
            {"type", "Split"}, {"pattern", JsonObject{{"Regex", regex}}}, {"behavior", "Isolated"}},
        "x")
        .split(pieces);
  }
  return {pieces.list.begin(), pieces.list.end()};
}

TEST(PublishedFiles, PiecesOfEveryPattern) {
  const std::string path = published("golden/pretok.jsonl");
  if (path.empty()) GTEST_SKIP() << "set MOE_PUBLISHED_FILES to a folder with golden/pretok.jsonl";
  int64_t n = 0;
  for (const std::string& line : lines_of(read_file(path), "\n")) {
    if (line.empty()) continue;
    const Json item = parse_json(line, "x", 16);
    const std::string text(item.at("text").as_string());
    const auto expect = [&](const char* key, std::vector<std::string_view> patterns) {
      std::vector<std::string> want;
      for (const Json& piece : item.at("pieces").at(key).as_array())
        want.emplace_back(piece.as_string());
      EXPECT_EQ(pieces_of(patterns, text), want) << key << ": " << line.substr(0, 100);
      ++n;
    };
    expect("gpt2", {"gpt2"});
    expect("cl100k_tiktoken_current", {"cl100k"});
    expect("llama3_and_cl100k_2023", {"llama3"});
    expect("qwen2", {"qwen2"});
    expect("o200k", {"o200k"});
    expect("nanochat", {"nanochat"});
    expect("deepseek_v3", {"numbers-by-3", "cjk-and-kana", "deepseek-v3"});
  }
  EXPECT_GT(n, 1000);
}

TEST(PublishedFiles, Gpt2VectorsOfLlamaCpp) {
  const std::string vocab = published("vocab/gpt2.tiktoken"),
                    texts = published("llama.cpp-vectors/ggml-vocab.inp"),
                    ids = published("llama.cpp-vectors/gpt-2.out");
  if (vocab.empty() || texts.empty() || ids.empty())
    GTEST_SKIP() << "set MOE_PUBLISHED_FILES to a folder with vocab/ and llama.cpp-vectors/";
  const auto tokenizer = read_tokenizer(vocab);
  const auto segments = lines_of(read_file(texts), "\n__ggml_vocab_test__\n"),
             answers = lines_of(read_file(ids), "\n");
  ASSERT_GE(answers.size(), segments.size());
  for (size_t i = 0; i < segments.size(); ++i) {
    std::string got;
    for (const TokenId id : tokenizer->encode(segments[i])) got += " " + std::to_string(id);
    EXPECT_EQ(got, answers[i]) << segments[i];
  }
}

}  // namespace
}  // namespace moe
