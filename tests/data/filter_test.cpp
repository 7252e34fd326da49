// SPDX-License-Identifier: MIT
#include "moe/data/filter.h"

#include <gtest/gtest.h>

namespace moe {
namespace {

TEST(Filter, SharesByHand) {
  EXPECT_DOUBLE_EQ(symbol_ratio("ab!?"), 0.5);
  EXPECT_DOUBLE_EQ(symbol_ratio("\xE4\xB8\xAD\xE6\x96\x87 1"), 0);
  EXPECT_DOUBLE_EQ(symbol_ratio(""), 0);
  EXPECT_DOUBLE_EQ(repeated_lines("abcd\nabcd\nefgh\n\n\nabcd"), 0.5);
  EXPECT_DOUBLE_EQ(repeated_lines("a\nb\nc"), 0);
  EXPECT_DOUBLE_EQ(repeated_words("a b c d e a b c d e"), 0.5);
  EXPECT_DOUBLE_EQ(repeated_words("a b c d e f g h i j"), 0);
  EXPECT_DOUBLE_EQ(repeated_words("spam spam spam spam spam spam spam spam spam spam"), 0.9);
}

TEST(Filter, Languages) {
  EXPECT_EQ(guess_language("The cat sat on the mat and it was happy in the sun."), "en");
  EXPECT_EQ(guess_language("Der Hund ist nicht auf dem Tisch und das ist gut."), "de");
  EXPECT_EQ(guess_language("Le chat est dans la maison et les enfants jouent pour une heure."),
            "fr");
  EXPECT_EQ(guess_language("El perro y los gatos que viven con una familia por el campo."), "es");
  EXPECT_EQ(
      guess_language("\xE4\xBD\xA0\xE5\xA5\xBD\xEF\xBC\x8C\xE4\xB8\x96\xE7\x95\x8C\xE3\x80\x82"),
      "zh");
  EXPECT_EQ(
      guess_language(
          "\xE3\x81\x93\xE3\x82\x93\xE3\x81\xAB\xE3\x81\xA1\xE3\x81\xAF\xE4\xB8\x96\xE7\x95\x8C"),
      "ja");
  EXPECT_EQ(
      guess_language("\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82 \xD0\xBC\xD0\xB8\xD1\x80"),
      "ru");
  EXPECT_EQ(guess_language("12 34 !!"), "");
  EXPECT_EQ(guess_language(""), "");
}

TEST(Filter, TheFirstRuleThatIsBroken) {
  const std::string good = "The quick brown fox jumps over the lazy dog, and that was it.";
  EXPECT_EQ(broken_rule(good, {}), "");
  EXPECT_EQ(broken_rule("ab", {.min_characters = 3}), "min_characters");
  EXPECT_EQ(broken_rule("\xE4\xB8\xAD\xE6\x96\x87", {.min_characters = 2, .max_characters = 2}),
            "");
  EXPECT_EQ(broken_rule("abc", {.max_characters = 2}), "max_characters");
  EXPECT_EQ(broken_rule("$$$ a", {.max_symbol_ratio = 0.5}), "symbols");
  EXPECT_EQ(broken_rule("x y\nx y\nx y\n", {.max_repeated_lines = 0.3}), "repeated_lines");
  EXPECT_EQ(broken_rule("a b c d e a b c d e", {.max_repeated_words = 0.3}), "repeated_words");
  EXPECT_EQ(broken_rule(good, {.languages = {"de", "zh"}}), "language");
  EXPECT_EQ(broken_rule(good, {.languages = {"en"}}), "");
  EXPECT_EQ(broken_rule(good, {.blocked_words = {"FOX"}}), "blocked_word");
  EXPECT_EQ(broken_rule("foxes", {.blocked_words = {"fox"}}), "");
  EXPECT_EQ(broken_rule("see https://spam.example/x now", {.blocked_urls = {"spam.example"}}),
            "blocked_url");
  EXPECT_EQ(broken_rule("spam.example without a scheme", {.blocked_urls = {"spam.example"}}), "");
}

}  // namespace
}  // namespace moe
