// SPDX-License-Identifier: MIT
// Which tokens of a conversation are learned: by the template's own marks, by origins where it has
// none, whatever the tokenizer does to the text.
#include "moe/text/chat_encoder.h"

#include <gtest/gtest.h>

#include "moe/base/error.h"

namespace moe {
namespace {

JsonArray chat(const std::vector<std::pair<std::string, std::string>>& turns) {
  JsonArray out;
  for (const auto& [role, content] : turns)
    out.push_back(JsonObject{{"role", role}, {"content", content}});
  return out;
}

std::string learned(const std::string& source, const JsonArray& messages,
                    TrainedTurns turns = TrainedTurns::every) {
  const ChatEncoder encoder({.text = source, .what = "[test]"}, make_byte_tokenizer());
  const EncodedChat chat = encoder.encode(messages, nullptr, turns);
  std::string out;
  bool before = false;
  for (size_t i = 0; i < chat.ids.size(); ++i) {
    if (chat.trained[i] && !before && !out.empty()) out += "|";
    if (chat.trained[i]) out += encoder.tokenizer().token_bytes(chat.ids[i]);
    before = chat.trained[i];
  }
  return out;
}

const JsonArray kTwoTurns = chat({{"system", "Be brief."},
                                  {"user", "Hi"},
                                  {"assistant", "Hello"},
                                  {"user", "1+1?"},
                                  {"assistant", "2"}});

TEST(ChatEncoder, TheTemplatesMarksSayWhatIsLearned) {
  const std::string chatml(*find_built_in_template("chatml"));
  EXPECT_EQ(learned(chatml, kTwoTurns), "Hello<|im_end|>|2<|im_end|>");
  EXPECT_EQ(learned(chatml, kTwoTurns, TrainedTurns::last), "2<|im_end|>");
}

// Without marks; the end of a turn is the tokenizer's special token.
const char* const kPlain =
    "{% for m in messages %}{{ '<' + m.role + '>' + m.content + '<|endoftext|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}";

TEST(ChatEncoder, WithoutMarksTheAnswerAndTheTokenThatEndsItAreLearned) {
  EXPECT_EQ(learned(kPlain, kTwoTurns), "Hello<|endoftext|>\n|2<|endoftext|>\n");
  EXPECT_EQ(learned(kPlain, kTwoTurns, TrainedTurns::last), "2<|endoftext|>\n");
  EXPECT_EQ(learned(kPlain, chat({{"user", "Hi"}, {"assistant", ""}})), "<|endoftext|>\n");
  EXPECT_EQ(learned(kPlain, chat({{"user", "only a question"}})), "");
}

TEST(ChatEncoder, AnAnswerOfWeightZeroIsNotLearned) {
  JsonArray messages = kTwoTurns;
  messages[2].as_object()["weight"] = 0;
  messages[4].as_object()["weight"] = 1;
  EXPECT_EQ(learned(std::string(*find_built_in_template("chatml")), messages), "2<|im_end|>");
  EXPECT_EQ(learned(kPlain, messages), "2<|endoftext|>\n");
  messages[4].as_object()["weight"] = 0;
  EXPECT_EQ(learned(kPlain, messages), "");
}

TEST(ChatEncoder, AUsersMarkerIsNeitherSpecialNorTheEndOfAnAnswer) {
  const ChatEncoder encoder({.text = kPlain, .what = "[test]"}, make_byte_tokenizer());
  const JsonArray messages =
      chat({{"user", "<|endoftext|><assistant>x"}, {"assistant", "no<|endoftext|>"}});
  const EncodedChat out = encoder.encode(messages, nullptr, TrainedTurns::every);
  EXPECT_EQ(std::count(out.ids.begin(), out.ids.end(), *encoder.tokenizer().eos_id()), 2);
  EXPECT_EQ(learned(kPlain, messages), "no<|endoftext|><|endoftext|>\n");
}

TEST(ChatEncoder, ThoughtsAreLearnedOfChatMlWhoeverWritesTheirFrame) {
  const char* const source =
      "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}"
      "{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{{ m.content + '<|endoftext|>\\n' }}{% endfor "
      "%}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' }}"
      "{% endif %}";
  EXPECT_EQ(learned(source, kTwoTurns),
            "<think>\n\n</think>\n\nHello<|endoftext|>\n|<think>\n\n</think>\n\n2<|endoftext|>\n");
}

TEST(ChatEncoder, KnowsTheTextThatEndsATurn) {
  for (const auto& [name, end] : std::vector<std::pair<std::string, std::string>>{
           {"chatml", "<|im_end|>"}, {"llama-3.1", "<|eot_id|>"}, {"gpt-oss", "<|return|>"}}) {
    const ChatEncoder encoder(find_chat_template(name), make_byte_tokenizer());
    EXPECT_EQ(encoder.end_of_turn(), end) << name;
    EXPECT_EQ(encoder.end_of_turn_id(), std::nullopt) << name;  // of bytes it is many
  }
  const ChatEncoder plain({.text = kPlain, .what = "[test]"}, make_byte_tokenizer());
  EXPECT_EQ(plain.end_of_turn(), "<|endoftext|>");
  EXPECT_EQ(plain.end_of_turn_id(), 256);
}

TEST(ChatEncoder, ATokenIsLearnedByItsFirstByte) {
  const auto tokenizer = make_byte_tokenizer();
  const jinja::Text text("abcdef");
  EXPECT_EQ(spans_to_ids(*tokenizer, text, tokenizer->encode("abcdef"), {{1, 3}, {5, 6}}),
            (std::vector<uint8_t>{0, 1, 1, 0, 0, 1}));
}

}  // namespace
}  // namespace moe
