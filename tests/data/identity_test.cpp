// SPDX-License-Identifier: MIT
#include "moe/data/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <set>

#include "moe/base/error.h"
#include "moe/base/json.h"

#include "tests/base/temp_folder.h"

namespace moe {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Identity, EveryAnswerHoldsTheNameOrTheAuthor) {
  const auto all = identity_records({"Ada", "the team"}),
             english = identity_records({"Ada", "the team"}, "en"),
             chinese = identity_records({"Ada", "the team"}, "zh");
  EXPECT_EQ(all.size(), english.size() + chinese.size());
  EXPECT_GT(english.size(), 100u);
  EXPECT_GT(chinese.size(), 50u);
  std::set<std::string> pairs;
  for (const Record& record : all) {
    ASSERT_EQ(record.messages.size(), 2u);
    const std::string answer(record.messages[1].as_object().at("content").as_string());
    EXPECT_TRUE(answer.find("Ada") != std::string::npos ||
                answer.find("the team") != std::string::npos)
        << answer;
    EXPECT_THAT(answer, Not(HasSubstr("{{")));
    pairs.insert(to_json_line(record.messages));
  }
  EXPECT_EQ(pairs.size(), all.size());
  EXPECT_THAT(error_of([] { identity_records({"a", "b"}, "fr"); }), HasSubstr("neither en nor zh"));
}

TEST(Identity, PlaceholdersAreReplacedAndNothingElse) {
  Record record;
  record.messages = {JsonObject{{"role", "assistant"},
                                {"content", "I am {{ name }} by {{author}}, {{other}} {{"}}};
  const Record out = with_identity(record, {"{{author}}", "B"});
  EXPECT_EQ(out.messages[0].as_object().at("content"), Json("I am {{author}} by B, {{other}} {{"));
}

}  // namespace
}  // namespace moe
