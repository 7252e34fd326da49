// SPDX-License-Identifier: MIT
// Conversations with small random models: what they answer does not matter, that it is the same
// however it was computed does.
#include "moe/chat/chat_session.h"

#include <gtest/gtest.h>

#include "moe/base/error.h"
#include "moe/base/json.h"
#include "moe/nn/init.h"

#include "tests/base/temp_folder.h"

namespace moe {
namespace {

ModelConfig tiny(int64_t context) {
  ModelConfig c;
  c.n_layers = 2;
  c.d_model = 24;
  c.n_heads = 2;
  c.n_kv_heads = 1;
  c.head_dim = 8;
  c.d_ff = 20;
  c.max_seq_len = context;
  c.vocab_size = 257;
  c.has_moe = true;
  c.moe.n_experts = 4;
  c.moe.d_ff = 12;
  return c;
}

// Without <|im_end|> as a token, so that answers end at their limit or at its text.
ChatEncoder encoder() {
  return ChatEncoder(find_chat_template("chatml"), std::shared_ptr(make_byte_tokenizer()));
}

ChatSettings settings(int64_t n, double temperature = 1) {
  ChatSettings out;
  out.max_new_tokens = n;
  out.sampler.temperature = temperature;
  return out;
}

TEST(ChatSession, TheCacheChangesNoAnswer) {
  TransformerLM model(tiny(1024));
  initialize(model, 3);
  ChatSession kept(model, encoder(), settings(20)), fresh(model, encoder(), settings(20));
  kept.set_system("s");
  fresh.set_system("s");
  for (const char* text : {"hello", "again", "and again"}) {
    std::string shown;
    const Answer a = kept.ask(text, [&](const std::string& part) {
      shown += part;
      return true;
    });
    fresh.forget_cache();
    const Answer b = fresh.ask(text, [](const std::string&) { return true; });
    EXPECT_EQ(a.text, b.text);
    EXPECT_EQ(a.text, shown);
    EXPECT_EQ(a.tokens.size(), 20u);
    EXPECT_EQ(a.reason, FinishReason::length);
    for (const AnswerToken& t : a.tokens) {
      EXPECT_GE(t.candidates.front().second, t.probability);
      EXPECT_GT(t.probability, 0);
    }
  }
  EXPECT_EQ(kept.messages().size(), 6u);
}

TEST(ChatSession, AStoppedAnswerStaysAndTheConversationGoesOn) {
  TransformerLM model(tiny(1024));
  initialize(model, 3);
  ChatSession session(model, encoder(), settings(50));
  int n = 0;
  const Answer answer = session.ask("hello", [&](const std::string&) { return ++n < 5; });
  EXPECT_TRUE(answer.interrupted);
  EXPECT_LT(answer.tokens.size(), 50u);
  EXPECT_EQ(session.messages().size(), 2u);
  EXPECT_FALSE(session.ask("more", [](const std::string&) { return true; }).interrupted);
}

TEST(ChatSession, WhatOutgrowsTheContextIsCutAtATurnAndTheSystemPromptStays) {
  TransformerLM model(tiny(256));
  initialize(model, 3);
  ChatSession session(model, encoder(), settings(16));
  session.set_system("Be brief.");
  int64_t dropped = 0;
  for (int i = 0; i < 12; ++i)
    dropped +=
        session.ask(str("question ", i), [](const std::string&) { return true; }).dropped_turns;
  EXPECT_GT(dropped, 0);
  EXPECT_EQ(dropped % 2, 0);
  EXPECT_EQ(session.messages()[0].as_object().at("role").as_string(), "user");
  const JsonObject saved = session.save();
  EXPECT_EQ(saved.at("messages").as_array()[0].as_object().at("role").as_string(), "system");
  const size_t before = session.messages().size();
  EXPECT_NE(error_of([&] {
              session.ask(std::string(300, 'x'), [](const std::string&) { return true; });
            }).find("the model's context holds 256"),
            std::string::npos);
  EXPECT_EQ(session.messages().size(), before);
}

TEST(ChatSession, SavedAndLoadedItGoesOnTheSame) {
  TransformerLM model(tiny(1024));
  initialize(model, 3);
  ChatSession one(model, encoder(), settings(12)), two(model, encoder(), settings(12));
  one.set_system("s");
  one.ask("a", [](const std::string&) { return true; });
  two.load(parse_json(to_json_line(one.save()), "saved"));
  EXPECT_EQ(two.system(), "s");
  const auto all = [](const std::string&) { return true; };
  EXPECT_EQ(one.ask("b", all).text, two.ask("b", all).text);
  for (const char* bad : {"[]", "{}", R"({"messages": 3})", R"({"messages": [{"role": "user"}]})"})
    EXPECT_NE(error_of([&] { two.load(parse_json(bad, "bad")); }), "") << bad;
}

}  // namespace
}  // namespace moe
