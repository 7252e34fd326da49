// SPDX-License-Identifier: MIT
// A conversation with a model: turns in, an answer streamed out. Tokens that the cache holds
// already are not computed again, and a conversation that outgrows the context loses its oldest
// turns whole.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moe/infer/generate.h"
#include "moe/infer/session.h"
#include "moe/text/chat_encoder.h"

namespace moe {

struct ChatSettings {
  SamplerConfig sampler;
  int64_t max_new_tokens = 512;
  std::vector<int32_t> stop_ids;  // of the model; the template's end of turn is added
};

/// One token of an answer, with what stood beside it.
struct AnswerToken {
  int32_t id = 0;
  double probability = 0;                              // at temperature 1
  std::vector<std::pair<int32_t, double>> candidates;  // the most probable, falling
};

struct Answer {
  std::string text;
  FinishReason reason = FinishReason::stop;
  bool interrupted = false;
  int64_t dropped_turns = 0;  // messages that were left out so that the rest fits
  std::vector<AnswerToken> tokens;
};

class ChatSession {
 public:
  /// The model must outlive the session. Throws Error for a model that cannot generate.
  ChatSession(const TransformerLM& model, ChatEncoder encoder, ChatSettings settings);

  /// Adds a user's turn, streams the answer's well-formed text to show and adds it as the
  /// assistant's turn; show returning false stops the answer, which stays as it is. Throws Error
  /// when the turn alone does not fit into the context: nothing is added then.
  Answer ask(const std::string& text, const std::function<bool(const std::string&)>& show);

  void reset();  // the system prompt stays
  void set_system(const std::string& text);
  const std::string& system() const { return system_; }
  /// Turns, without the system prompt.
  const JsonArray& messages() const { return messages_; }
  /// {"messages": [...]}, the system prompt first; load throws Error naming what is wrong.
  JsonObject save() const;
  void load(const Json& conversation);
  /// Another adapter computes other keys and values.
  void forget_cache();
  const ChatEncoder& encoder() const { return encoder_; }

 private:
  JsonArray with_system(const JsonArray& messages) const;
  Tensor feed_prompt(const std::vector<int32_t>& ids);

  const TransformerLM& model_;
  ChatEncoder encoder_;
  ChatSettings settings_;
  std::string system_;
  JsonArray messages_;
  DecodeSession decode_;
  int sequence_ = -1;
  std::vector<int32_t> fed_;  // what the cache holds
};

}  // namespace moe
