// SPDX-License-Identifier: MIT
// Training: merges against Hugging Face `tokenizers`, rustbpe's and minbpe's rules against worked
// examples and a slow trainer written from their definitions, and what any tokenizer must keep.
#include "moe/text/trainers/tokenizer_trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <map>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/parallel.h"
#include "moe/base/rng.h"
#include "moe/text/byte_alphabet.h"
#include "moe/text/piece_scanner.h"
#include "moe/text/tokenizer_json.h"

#include "tests/base/temp_folder.h"

namespace moe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Words of a small random language, so that pairs repeat and tie.
std::string random_text(uint64_t seed, int64_t n_words) {
  const RngStream rng(seed, 0, "text");
  std::string text;
  constexpr const char* kSyllables[] = {"ab", "cd", "ba", "la", "\xC3\xA9", "ti", "no", "aa"};
  for (int64_t w = 0; w < n_words; ++w) {
    const auto pick = [&](uint64_t k, uint64_t n) { return rng.below(n, w, int64_t(k)); };
    const uint64_t n = 1 + pick(0, 3);
    for (uint64_t k = 0; k < n; ++k) text += kSyllables[pick(1 + k, std::size(kSyllables))];
    text += pick(7, 11) == 0 ? ".\n" : pick(7, 11) == 1 ? "  " : " ";
  }
  return text;
}

using Merge = std::pair<std::string, std::string>;

/// Byte-level BPE as the definitions say it: count all pairs anew for each merge.
std::vector<Merge> slow_merges(const std::string& text, int64_t n_merges, const std::string& tie) {
  std::vector<std::vector<int>> pieces;
  std::map<int, std::string> bytes;
  std::array<int, 256> id{};
  for (int i = 0; i < 256; ++i) {
    const uint8_t b = tie == "hf" ? bytes_by_spelling()[size_t(i)] : uint8_t(i);
    id[b] = i;
    bytes[i] = std::string(1, char(b));
  }
  const PieceScanner scan = find_split_pattern("gpt2").scan;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = scan(text, begin);
    pieces.emplace_back();
    for (size_t i = begin; i < end; ++i) pieces.back().push_back(id[uint8_t(text[i])]);
    begin = end;
  }
  std::vector<Merge> out;
  for (int64_t m = 0; m < n_merges; ++m) {
    std::map<std::pair<int, int>, std::pair<int64_t, int64_t>>
        counts;  // count, order of first sight
    for (const auto& piece : pieces)
      for (size_t i = 0; i + 1 < piece.size(); ++i) {
        const auto [at, is_new] =
            counts.try_emplace({piece[i], piece[i + 1]}, 0, int64_t(counts.size()));
        at->second.first += 1;
      }
    auto best = counts.end();
    for (auto at = counts.begin(); at != counts.end(); ++at) {  // ascending by ids
      if (best == counts.end() || at->second.first > best->second.first ||
          (at->second.first == best->second.first && tie == "minbpe" &&
           at->second.second < best->second.second))
        best = at;
    }
    if (best == counts.end()) break;
    const auto [left, right] = best->first;
    const int next = int(bytes.size());
    out.emplace_back(bytes[left], bytes[right]);
    bytes[next] = bytes[left] + bytes[right];
    for (auto& piece : pieces) {
      std::vector<int> merged;
      for (size_t i = 0; i < piece.size(); ++i) {
        const bool here = piece[i] == left && i + 1 < piece.size() && piece[i + 1] == right;
        merged.push_back(here ? next : piece[i]);
        i += here;
      }
      piece = std::move(merged);
    }
  }
  return out;
}

std::vector<Merge> merges_of(const Tokenizer& tokenizer) {
  std::vector<Merge> out;
  const TokenModelSpec& m = tokenizer.spec()->model;
  for (const auto& merge : m.merges)
    out.emplace_back(*bytes_of_spelling(m.vocab[size_t(merge.left)]),
                     *bytes_of_spelling(m.vocab[size_t(merge.right)]));
  return out;
}

class TokenizerTrainer : public testing::Test {
 protected:
  std::string write(const std::string& name, std::string_view text) {
    write_file_atomic(real_fs(), folder_ / name, text);
    return folder_ / name;
  }
  TempFolder folder_;
};

TEST_F(TokenizerTrainer, MergesEqualTheDefinitionForEveryTieRule) {
  for (const uint64_t seed : {1, 2, 3}) {
    const std::string text = random_text(seed, 400);
    const std::string file = write("text.txt", text);
    for (const std::string tie : {"hf", "rustbpe", "minbpe", "tiktoken"}) {
      TokenizerTraining t{.vocab_size = 257 + 120};
      t.tie = tie;
      t.files = {file};
      const std::string rule = tie == "tiktoken" ? "minbpe" : tie;
      EXPECT_EQ(merges_of(*train_tokenizer(t).tokenizer), slow_merges(text, 120, rule)) << tie;
    }
  }
}

// Pieces "cd" x 2, " b" x 2, "ab" x 2, in this order: the libraries' first three merges.
TEST_F(TokenizerTrainer, TheTieExample) {
  const std::string file = write("ties.txt", "cd b\ncd b\nab\nab\n");
  const auto first = [&](const std::string& tie) {
    TokenizerTraining t{.vocab_size = 257 + 3};
    t.tie = tie;
    t.files = {file};
    std::vector<std::string> out;
    for (const auto& [left, right] : merges_of(*train_tokenizer(t).tokenizer))
      out.push_back(left + right);
    return out;
  };
  EXPECT_THAT(first("hf"), ElementsAre("ab", "cd", " b"));
  EXPECT_THAT(first("rustbpe"), ElementsAre(" b", "ab", "cd"));
  EXPECT_THAT(first("minbpe"), ElementsAre("cd", " b", "ab"));
}

TEST_F(TokenizerTrainer, ThreadsFilesAndPartsChangeNothing) {
  const std::string text = random_text(7, 300'000);  // several parts
  ASSERT_GT(text.size(), size_t{1} << 20);
  const std::string whole = write("whole.txt", text);
  const size_t cut = text.find(".\n", text.size() / 3) + 2;
  const std::vector<std::string> halves = {write("a.txt", text.substr(0, cut)),
                                           write("b.txt", text.substr(cut))};
  const int before = n_threads();
  for (const std::string type : {"bpe", "wordpiece", "unigram"}) {
    std::string want;
    for (const int n : {1, 2, 5}) {
      set_threads(n);
      for (const auto& files : {std::vector<std::string>{whole}, halves}) {
        TokenizerTraining t{.type = type, .vocab_size = 400};
        t.files = files;
        const std::string json = tokenizer_to_json(*train_tokenizer(t).tokenizer);
        if (want.empty()) want = json;
        EXPECT_EQ(json, want) << type << ' ' << n;
      }
    }
  }
  set_threads(before);
}

TEST_F(TokenizerTrainer, EveryTypeGivesTheTextBack) {
  const std::string text = "the cat sat on the mat and the caf\xC3\xA9 was happy unhappy happily";
  const std::string file = write("text.txt", text + "\n" + random_text(1, 200));
  for (const std::string type : {"bpe", "wordpiece", "unigram", "char", "byte"}) {
    TokenizerTraining t{.type = type, .vocab_size = 320};
    t.files = {file};
    const auto trained = train_tokenizer(t);
    const auto again = tokenizer_from_json(tokenizer_to_json(*trained.tokenizer), "x");
    EXPECT_LE(again->vocab_size(), type == "byte" ? 257 : 320) << type;
    const std::vector<TokenId> ids = again->encode(text);
    EXPECT_EQ(ids, trained.tokenizer->encode(text)) << type;
    EXPECT_EQ(again->decode(ids), text) << type;
  }
}

TEST_F(TokenizerTrainer, MinimumFrequencyEndsLearning) {
  const std::string file = write("text.txt", "abab abab abab xy xy z\n");
  TokenizerTraining t{.vocab_size = 1000};
  t.files = {file};
  t.min_frequency = 3;
  for (const auto& [left, right] : merges_of(*train_tokenizer(t).tokenizer))
    EXPECT_EQ((left + right).find_first_of("xyz"), std::string::npos);
}

// In a text that holds special tokens, none of them, and no part of one, becomes a token.
TEST_F(TokenizerTrainer, SpecialTokensOfTheTextAreNoText) {
  std::string text;
  for (int i = 0; i < 50; ++i) text += "<|im_end|>hello<|im_end|>";
  TokenizerTraining t{.vocab_size = 300};
  t.special_tokens = {"<|endoftext|>", "<|im_end|>"};
  t.files = {write("text.txt", text)};
  t.pattern = ".+";  // no cut of its own
  const auto tokenizer = train_tokenizer(t).tokenizer;
  for (const auto& [left, right] : merges_of(*tokenizer))
    EXPECT_NE(std::string("hello").find(left + right), std::string::npos);
  EXPECT_THAT(tokenizer->encode("hello<|im_end|>", SpecialTokens::parse),
              ElementsAre(tokenizer->encode("hello")[0], 1));
  EXPECT_GT(tokenizer->encode("<|im_end|>").size(), 1u);
}

TEST_F(TokenizerTrainer, WordPieceByLikelihoodJoinsRarePartsFirst) {
  // h-u-g-s ... : "##g" "##s" have the highest count(ab) / (count(a) count(b)) of the pairs.
  std::string text;
  for (const auto& [word, n] :
       {std::pair{"hug", 10}, {"pug", 5}, {"pun", 12}, {"bun", 4}, {"hugs", 5}})
    for (int i = 0; i < n; ++i) text += std::string(word) + "\n";
  TokenizerTraining t{.type = "wordpiece", .vocab_size = 100};
  t.files = {write("text.txt", text)};
  t.special_tokens = {};
  const auto first = [&] {
    const TrainedTokenizer trained = train_tokenizer(t);
    const TokenModelSpec& m = trained.tokenizer->spec()->model;
    for (const std::string& token : m.vocab)  // the first of more than a character
      if (token.size() > (starts_with(token, "##") ? 3u : 1u) && token != "[UNK]") return token;
    return std::string();
  };
  EXPECT_EQ(first(), "##ug");
  t.likelihood = true;
  EXPECT_EQ(first(), "##gs");
}

TEST_F(TokenizerTrainer, UnigramPiecesAreOrderedProbabilities) {
  TokenizerTraining t{.type = "unigram", .vocab_size = 200};
  t.files = {write("text.txt", random_text(4, 3000))};
  const auto tokenizer = train_tokenizer(t).tokenizer;
  const TokenModelSpec& m = tokenizer->spec()->model;
  double sum = 0;
  for (size_t i = 2; i < m.scores.size(); ++i) {
    sum += std::exp(m.scores[i]);
    if (i > 2) {
      EXPECT_LE(m.scores[i], m.scores[i - 1]);
    }
  }
  EXPECT_LE(sum, 1.0 + 1e-9);
  EXPECT_GT(sum, 0.5);
  EXPECT_EQ(std::count(m.vocab.begin(), m.vocab.end(), "aa"), 1);
}

TEST_F(TokenizerTrainer, RefusesWhatCannotBe) {
  const std::string file = write("text.txt", "some text\n"), empty = write("empty.txt", "");
  const auto error = [&](const std::function<void(TokenizerTraining&)>& change) {
    TokenizerTraining t;
    t.files = {file};
    change(t);
    return error_of([&] { train_tokenizer(t); });
  };
  EXPECT_THAT(error([](auto& t) { t.vocab_size = 100; }), HasSubstr("is too small"));
  EXPECT_THAT(error([](auto& t) { t.vocab_size = 0; }), HasSubstr("a vocabulary of 0"));
  EXPECT_THAT(error([](auto& t) { t.type = "wordpeice"; }), HasSubstr("did you mean wordpiece?"));
  EXPECT_THAT(error([](auto& t) { t.tie = "minbep"; }), HasSubstr("did you mean minbpe?"));
  EXPECT_THAT(error([](auto& t) { t.pattern = "gpt3"; }), HasSubstr("Did you mean gpt2?"));
  EXPECT_THAT(error([](auto& t) { t.pattern = "(a"; }), HasSubstr("regular expression '(a'"));
  EXPECT_THAT(error([&](auto& t) { t.files = {empty}; }), HasSubstr("are empty"));
  EXPECT_THAT(error([&](auto& t) { t.files = {empty}, t.type = "char"; }), HasSubstr("are empty"));
  EXPECT_THAT(error([](auto& t) { t.special_tokens = {"a", "a"}; }), HasSubstr("comes twice"));
  EXPECT_THAT(error([](auto& t) { t.type = "unigram", t.vocab_size = 5; }),
              HasSubstr("is too small"));
  EXPECT_THAT(error([](auto& t) { t.type = "wordpiece", t.vocab_size = 5; }),
              HasSubstr("is too small"));
  EXPECT_THAT(error([](auto& t) { t.files = {"/nonexistent/file"}; }),
              HasSubstr("/nonexistent/file"));
}

}  // namespace
}  // namespace moe
