// SPDX-License-Identifier: MIT
#include "moe/data/demo_corpus.h"

#include <cctype>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <set>

#include "moe/base/error.h"
#include "moe/data/demo_windows.h"

namespace moe {
namespace {

using ::testing::HasSubstr;

const int kStories = 0, kArithmetic = 1, kStrings = 2, kRecall = 3, kCode = 4;

// The numbers in a text, in order.
std::vector<int> numbers_in(const std::string& text) {
  std::vector<int> out;
  for (size_t i = 0; i < text.size();) {
    if (!std::isdigit(static_cast<unsigned char>(text[i]))) {
      ++i;
      continue;
    }
    size_t used = 0;
    out.push_back(std::stoi(text.substr(i), &used));
    i += used;
  }
  return out;
}

TEST(DemoCorpus, NamesItsFiveSubjects) {
  EXPECT_EQ(demo_subject_names(),
            (std::vector<std::string>{"stories", "arithmetic", "strings", "recall", "code"}));
  EXPECT_EQ(demo_subject("recall"), kRecall);
  try {
    demo_subject("arithmetik");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("did you mean 'arithmetic'?"));
    EXPECT_EQ(error.exit_code(), ExitCode::usage);
  }
}

TEST(DemoCorpus, ASampleDependsOnSeedSplitAndNumberAlone) {
  const DemoCorpus a(7), b(7), other(8);
  int differing = 0;
  for (int64_t i = 199; i >= 0; --i) {
    EXPECT_EQ(a.sample(Split::train, i).text(), b.sample(Split::train, i).text());
    EXPECT_EQ(a.sample(Split::validation, 3, i).text(), b.sample(Split::validation, 3, i).text());
    differing += a.sample(Split::train, i).text() != other.sample(Split::train, i).text();
  }
  EXPECT_GT(differing, 190);
}

TEST(DemoCorpus, NoValidationPromptIsEverTrainedOn) {
  const DemoCorpus corpus(1);
  for (int64_t i = 0; i < 50'000; ++i)
    ASSERT_FALSE(demo_held_out(corpus.sample(Split::train, i).prompt)) << i;
  for (int64_t i = 0; i < 2'000; ++i)
    ASSERT_TRUE(demo_held_out(corpus.sample(Split::validation, i).prompt)) << i;
}

TEST(DemoCorpus, APromptIsHeldOutWhenItsHashIsAMultipleOfTen) {
  // stable_hash is fixed for ever, so these are too: the split of old runs must not change.
  int held_out = 0;
  for (int i = 0; i < 10'000; ++i) {
    const std::string prompt = str("prompt ", i);
    EXPECT_EQ(demo_held_out(prompt), stable_hash(prompt) % 10 == 0);
    held_out += demo_held_out(prompt);
  }
  EXPECT_NEAR(held_out, 1000, 150);  // binomial: standard deviation 30
}

TEST(DemoCorpus, DrawsStoriesHalfAsOftenAsEachOtherSubject) {
  const DemoCorpus corpus(3);
  std::vector<int> count(5);
  for (int64_t i = 0; i < 9000; ++i)
    ++count[static_cast<size_t>(corpus.sample(Split::train, i).subject)];
  for (int subject = 0; subject < 5; ++subject)  // standard deviation at most 40, five of them
    EXPECT_NEAR(count[static_cast<size_t>(subject)], subject == kStories ? 1000 : 2000, 200);
}

TEST(DemoCorpus, EverySubjectHasThousandsOfPrompts) {
  const DemoCorpus corpus(1);
  for (int subject = 0; subject < 5; ++subject) {
    std::set<std::string> prompts;
    for (int64_t i = 0; i < 4000; ++i)
      prompts.insert(corpus.sample(Split::train, subject, i).prompt);
    // Arithmetic has the fewest, 7,290 for training: 4,000 draws of them meet about 3,080 different
    // ones.
    EXPECT_GT(prompts.size(), 2900u) << demo_subject_names()[static_cast<size_t>(subject)];
  }
}

TEST(DemoCorpus, EachSampleIsOneShortAsciiLine) {
  const std::string alphabet = demo_alphabet();
  EXPECT_TRUE(std::is_sorted(alphabet.begin(), alphabet.end()));
  std::set<char> used;
  for (int64_t i = 0; i < 20'000; ++i) {
    const std::string text = DemoCorpus(2).sample(Split::train, i).text();
    ASSERT_EQ(text.find('\n'), text.size() - 1);
    ASSERT_LE(text.size(), 90u) << text;
    used.insert(text.begin(), text.end());
  }
  EXPECT_EQ(std::string(used.begin(), used.end()), alphabet);
}

TEST(DemoCorpus, ArithmeticIsRightStepByStepAndHasTwoDigitsOrMore) {
  for (int64_t i = 0; i < 2000; ++i) {
    const DemoSample sample = DemoCorpus(4).sample(Split::train, kArithmetic, i);
    const std::vector<int> given = numbers_in(sample.prompt), shown = numbers_in(sample.answer);
    ASSERT_EQ(given.size(), 2u);
    ASSERT_GE(given[0], 10);
    ASSERT_GE(given[1], 10);
    ASSERT_EQ(shown.back(), given[0] + given[1]) << sample.text();
    ASSERT_EQ(shown[0] + shown[1], shown[2]) << sample.text();
    const bool carry = shown[2] >= 10;
    ASSERT_EQ(shown.size(), carry ? 8u : 7u) << sample.text();
    ASSERT_EQ(shown[3] + shown[4] + (carry ? 1 : 0), shown[carry ? 6 : 5]) << sample.text();
  }
}

TEST(DemoCorpus, StringsHaveFiveLettersOrMoreAndAreReversedOrSorted) {
  for (int64_t i = 0; i < 2000; ++i) {
    const DemoSample sample = DemoCorpus(4).sample(Split::train, kStrings, i);
    std::string letters = trim(sample.prompt.substr(sample.prompt.find(' ')));
    ASSERT_GE(letters.size(), 5u);
    if (starts_with(sample.prompt, "sort ")) {
      std::sort(letters.begin(), letters.end());
    } else {
      ASSERT_TRUE(starts_with(sample.prompt, "reverse ")) << sample.prompt;
      std::reverse(letters.begin(), letters.end());
    }
    ASSERT_EQ(sample.answer, letters);
  }
}

TEST(DemoCorpus, RecallGivesBackThreeOfThePairsInTheOrderAsked) {
  for (int64_t i = 0; i < 2000; ++i) {
    const DemoSample sample = DemoCorpus(4).sample(Split::train, kRecall, i);
    const size_t colon = sample.prompt.find(" : ");
    const std::string pairs = sample.prompt.substr(0, colon) + " ",
                      asked = trim(sample.prompt.substr(colon + 3));
    ASSERT_EQ(asked.size(), 3u);
    std::vector<std::string> want;
    for (const char key : asked) {
      const size_t at = pairs.find(str(" ", key), 6);  // after the word "recall"
      ASSERT_NE(at, std::string::npos) << sample.text();
      want.push_back(pairs.substr(at + 1, pairs.find(' ', at + 1) - at - 1));
    }
    ASSERT_EQ(sample.answer, join(want, " ")) << sample.text();
  }
}

TEST(DemoCorpus, StoriesAskAboutOneOfTheirTwoSentences) {
  for (int64_t i = 0; i < 2000; ++i) {
    const DemoSample sample = DemoCorpus(4).sample(Split::train, kStories, i);
    // Ana found a ball . Ben found a kite . Who found the kite ? / What did Ben find ?
    std::string text = sample.prompt;
    for (const char mark : {'.', '?'}) std::replace(text.begin(), text.end(), mark, ' ');
    std::vector<std::string> words;
    for (const std::string& word : split(text, ' ')) {
      if (!word.empty()) words.push_back(word);
    }
    ASSERT_EQ(words.size(), 12u) << sample.text();
    ASSERT_NE(words[0], words[4]);
    ASSERT_NE(words[3], words[7]);
    if (words[8] == "Who") {
      ASSERT_EQ(sample.answer, " " + words[words[11] == words[3] ? 0 : 4]) << sample.text();
      ASSERT_TRUE(words[11] == words[3] || words[11] == words[7]);
    } else {
      ASSERT_EQ(sample.answer, " a " + words[words[10] == words[0] ? 3 : 7]) << sample.text();
      ASSERT_TRUE(words[10] == words[0] || words[10] == words[4]);
    }
  }
}

TEST(DemoCorpus, CodeAnswersAreWhatPythonPrints) {
  for (int64_t i = 0; i < 2000; ++i) {
    const DemoSample sample = DemoCorpus(4).sample(Split::train, kCode, i);
    const std::string& prompt = sample.prompt;
    const std::vector<int> numbers = numbers_in(prompt);
    if (starts_with(prompt, "print(max(")) {
      ASSERT_GE(std::min(numbers[0], numbers[1]), 10) << prompt;
      ASSERT_EQ(sample.answer, str(std::max(numbers[0], numbers[1]))) << prompt;
    } else if (starts_with(prompt, "print('")) {
      const std::vector<std::string> quoted = split(prompt, '\'');
      ASSERT_GE(quoted[1].size(), 5u) << prompt;
      ASSERT_TRUE(quoted.size() <= 4 || quoted[3].size() >= 5) << prompt;
      ASSERT_EQ(sample.answer, quoted[1] + (quoted.size() > 4 ? quoted[3] : quoted[1])) << prompt;
    } else {
      const char asked = prompt[prompt.find("print(") + 6];
      const size_t at = prompt.find(str(asked, "="));
      ASSERT_EQ(sample.answer, prompt.substr(at + 2, 2)) << prompt;
    }
  }
}

TEST(DemoCorpus, EveryAnswerIsJudgedRightAndAWrongOneWrong) {
  for (int64_t i = 0; i < 500; ++i) {
    const DemoSample sample = DemoCorpus(9).sample(Split::validation, i);
    EXPECT_TRUE(demo_correct(sample, sample.answer + "\n"));
    EXPECT_TRUE(demo_correct(sample, "  " + sample.answer + " \nand more"));
    EXPECT_FALSE(demo_correct(sample, sample.answer + "x"));
    EXPECT_FALSE(demo_correct(sample, sample.answer.substr(0, sample.answer.size() - 1) + "\n"));
    EXPECT_FALSE(demo_correct(sample, ""));
    EXPECT_FALSE(demo_correct(sample, "\n" + sample.answer));
  }
}

TEST(DemoCorpus, OfArithmeticOnlyTheResultIsJudged) {
  const DemoSample sum{kArithmetic, "47+85=", "7+5=12 4+8+1=13 132"};
  EXPECT_TRUE(demo_correct(sum, "132\n"));
  EXPECT_TRUE(demo_correct(sum, "7+5=11 4+8+1=13 132\n"));
  EXPECT_FALSE(demo_correct(sum, "7+5=12 4+8+1=13 133\n"));
}

TEST(DemoWindows, FillAWindowWithSamplesThatAreSequencesOfTheirOwn) {
  const std::shared_ptr<const Tokenizer> tokenizer = make_byte_tokenizer();
  const DemoWindows windows(1, Split::train, tokenizer, 101, DemoWindows::kEndless);
  Batch batch = empty_batch();
  windows.append(3, 1000, batch);
  EXPECT_EQ(batch.n_tokens(), 101);
  EXPECT_EQ(batch.token_index_T.front(), 1000);
  EXPECT_EQ(batch.token_index_T.back(), 1100);
  const DemoCorpus corpus(1);
  for (int64_t s = 0; s < batch.n_sequences(); ++s) {
    const auto begin = static_cast<size_t>(batch.sequence_starts_B1[static_cast<size_t>(s)]);
    const auto end = static_cast<size_t>(batch.sequence_starts_B1[static_cast<size_t>(s) + 1]);
    const DemoSample sample = corpus.sample(Split::train, 3 * 101 + s);
    EXPECT_EQ(batch.positions_T[begin], 0);
    EXPECT_EQ(batch.subject_T[begin], sample.subject);
    const std::string text =
        tokenizer->decode(std::span(batch.token_ids_T).subspan(begin, end - begin));
    EXPECT_EQ(text, sample.text().substr(0, text.size()));
    const bool whole = s + 1 < batch.n_sequences();
    EXPECT_TRUE(!whole || batch.targets_T[end - 1] == 256);
  }
}

TEST(DemoWindows, TrainOnAnswersAndOnThePromptsOfEveryEighthSampleAndOfCutOnes) {
  const std::shared_ptr<const Tokenizer> tokenizer = make_byte_tokenizer();
  const DemoCorpus corpus(1);
  const int64_t seq_len = 203;
  const DemoWindows windows(1, Split::train, tokenizer, seq_len, DemoWindows::kEndless);
  for (int64_t w = 0; w < 20; ++w) {
    Batch batch = empty_batch();
    windows.append(w, 0, batch);
    int64_t n_targets = 0;
    for (int64_t s = 0; s < batch.n_sequences(); ++s) {
      const auto begin = static_cast<size_t>(batch.sequence_starts_B1[static_cast<size_t>(s)]);
      const auto end = static_cast<size_t>(batch.sequence_starts_B1[static_cast<size_t>(s) + 1]);
      const DemoSample sample = corpus.sample(Split::train, w * seq_len + s);
      const bool is_cut = end - begin < sample.text().size();
      const bool whole = is_cut || (w * seq_len + s) % 8 == 0;
      for (size_t t = begin; t < end; ++t) {
        const size_t target_place =
            t - begin + 1;  // in the text; the text's end is the end-of-text id
        const bool trained = whole || target_place >= sample.prompt.size();
        ASSERT_EQ(batch.targets_T[t] != Batch::kNotTrained, trained) << sample.text();
        n_targets += trained;
      }
    }
    ASSERT_EQ(batch.n_targets, n_targets);
  }
}

TEST(DemoWindows, EveryWindowHasATargetHoweverShort) {
  const std::shared_ptr<const Tokenizer> tokenizer = make_byte_tokenizer();
  for (int64_t seq_len = 1; seq_len < 70; ++seq_len) {
    const DemoWindows windows(1, Split::train, tokenizer, seq_len, DemoWindows::kEndless);
    for (int64_t w = 0; w < 10; ++w) {
      Batch batch = empty_batch();
      windows.append(w, 0, batch);
      ASSERT_EQ(batch.n_tokens(), seq_len);
      ASSERT_GT(batch.n_targets, 0);
    }
  }
}

TEST(DemoWindows, ShareNoSample) {
  // Number 0 of a window is the sample after the last that the window before could have reached.
  const std::shared_ptr<const Tokenizer> tokenizer = make_byte_tokenizer();
  const DemoWindows windows(1, Split::train, tokenizer, 64, DemoWindows::kEndless);
  std::set<std::string> first_lines;
  for (int64_t w = 0; w < 50; ++w) {
    Batch batch = empty_batch();
    windows.append(w, 0, batch);
    first_lines.insert(tokenizer->decode(std::span(batch.token_ids_T).subspan(0, 12)));
  }
  EXPECT_GT(first_lines.size(), 40u);
}

}  // namespace
}  // namespace moe
