// SPDX-License-Identifier: MIT
#include "moe/data/demo_subjects.h"

#include <algorithm>

#include "moe/base/str.h"

namespace moe {
namespace {

// ---- stories: two people find two things, and one of them is asked for ------------------

constexpr std::array<std::string_view, 24> kNames = {
    "Ana", "Ben",  "Cleo", "Dan", "Eva",   "Finn", "Gus", "Hana", "Ivy", "Jack", "Kim",  "Leo",
    "Mia", "Noah", "Olga", "Pia", "Quinn", "Rosa", "Sam", "Tom",  "Uma", "Vera", "Will", "Zoe"};
constexpr std::array<std::string_view, 12> kThings = {
    "ball", "kite", "book", "drum", "lamp", "coin", "shell", "rope", "cup", "hat", "key", "map"};

/// Two different entries.
template <size_t N>
std::array<std::string_view, 2> two_of(const std::array<std::string_view, N>& words,
                                       DemoDraws& draws) {
  const auto i = static_cast<size_t>(draws.below(N));
  const auto j = static_cast<size_t>(draws.below(N - 1));
  return {words[i], words[j < i ? j : j + 1]};
}

DemoTask stories(DemoDraws& draws) {
  const auto names = two_of(kNames, draws), things = two_of(kThings, draws);
  const std::string story =
      str(names[0], " found a ", things[0], ". ", names[1], " found a ", things[1], ". ");
  const auto asked = static_cast<size_t>(draws.below(2));
  if (draws.below(2) == 0)
    return {str(story, "Who found the ", things[asked], "?"), str(" ", names[asked])};
  return {str(story, "What did ", names[asked], " find?"), str(" a ", things[asked])};
}

// ---- arithmetic: sums of two-digit numbers, worked column by column as at school --------

DemoTask arithmetic(DemoDraws& draws) {
  const int64_t a = draws.between(10, 99), b = draws.between(10, 99);
  const int64_t units = a % 10 + b % 10, tens = a / 10 + b / 10 + units / 10;
  const std::string carry = units >= 10 ? "+1" : "";
  return {str(a, "+", b, "="), str(a % 10, "+", b % 10, "=", units, " ", a / 10, "+", b / 10, carry,
                                   "=", tens, " ", a + b)};
}

// ---- strings: five to seven different letters, reversed or sorted -----------------------

constexpr std::string_view kLetters = "abcdefghij";

DemoTask strings(DemoDraws& draws) {
  const std::string given = draws.letters(kLetters, draws.between(5, 7));
  std::string wanted = given;
  if (draws.below(2) == 0) {
    std::reverse(wanted.begin(), wanted.end());
    return {str("reverse ", given, " "), wanted};
  }
  std::sort(wanted.begin(), wanted.end());
  return {str("sort ", given, " "), wanted};
}

// ---- recall: the numbers that stood beside three letters --------------------------------

DemoTask recall(DemoDraws& draws) {
  const std::string keys = draws.letters(kLetters, draws.between(3, 5)),
                    asked = draws.letters(keys, 3);
  std::string prompt = "recall", answer;
  std::array<int64_t, 256> values{};
  for (const char key : keys) {
    int64_t& value = values[static_cast<uint8_t>(key)];
    value = draws.between(10, 99);
    prompt += str(" ", key, value);
  }
  for (const char key : asked)
    answer += str(answer.empty() ? "" : " ", key, values[static_cast<uint8_t>(key)]);
  return {str(prompt, " : ", asked, " "), answer};
}

// ---- code: what a line of Python prints -------------------------------------------------

DemoTask code(DemoDraws& draws) {
  const int64_t x = draws.between(10, 99), y = draws.between(10, 99);
  switch (draws.below(4)) {
    case 0: {
      const std::string names = draws.letters("uvwxyz", 2);
      const auto asked = static_cast<size_t>(draws.below(2));
      return {str(names[0], "=", x, ";", names[1], "=", y, ";print(", names[asked], ") # "),
              str(asked == 0 ? x : y)};
    }
    case 1: return {str("print(max(", x, ",", y, ")) # "), str(std::max(x, y))};
    case 2: {
      const std::string a = draws.letters(kLetters, draws.between(5, 6)),
                        b = draws.letters(kLetters, draws.between(5, 6));
      return {str("print('", a, "'+'", b, "') # "), a + b};
    }
    default: {
      const std::string a = draws.letters(kLetters, draws.between(5, 6));
      return {str("print('", a, "'*2) # "), a + a};
    }
  }
}

}  // namespace

std::string DemoDraws::letters(std::string_view alphabet, int64_t n) {
  std::string left(alphabet), out;
  for (int64_t i = 0; i < n; ++i) {
    const auto at = static_cast<size_t>(below(static_cast<int64_t>(left.size())));
    out.push_back(left[at]);
    left.erase(at, 1);
  }
  return out;
}

const std::array<DemoSubject, 5> kDemoSubjects = {{{"stories", 1, stories},
                                                   {"arithmetic", 2, arithmetic},
                                                   {"strings", 2, strings},
                                                   {"recall", 2, recall},
                                                   {"code", 2, code}}};

}  // namespace moe
