// SPDX-License-Identifier: MIT
// The corpus in two languages: the same for a seed, other draws for validation, whole sentences.
#include "moe/data/demo_bilingual.h"

#include <gtest/gtest.h>
#include <set>

#include "moe/base/utf8.h"

namespace moe {
namespace {

TEST(DemoBilingual, EachParagraphInBothLanguages) {
  std::set<std::string> english, held_out;
  for (int64_t i = 0; i < 500; ++i) {
    const BilingualText a = demo_bilingual(Split::train, i, 1),
                        b = demo_bilingual(Split::train, i, 1),
                        c = demo_bilingual(Split::validation, i, 1);
    EXPECT_EQ(a.english, b.english);
    EXPECT_EQ(a.chinese, b.chinese);
    EXPECT_TRUE(count_code_points(a.chinese) * 3 == int64_t(a.chinese.size()));
    for (const char letter : a.chinese) EXPECT_LT(letter, 0) << a.chinese;
    for (const char letter : a.english) EXPECT_GT(letter, 0) << a.english;
    EXPECT_EQ(a.english.back(), '.');
    english.insert(a.english);
    held_out.insert(c.english);
  }
  EXPECT_GT(english.size(), 480u);
  size_t both = 0;
  for (const std::string& text : held_out) both += english.count(text);
  EXPECT_LT(both, 5u);
}

}  // namespace
}  // namespace moe
