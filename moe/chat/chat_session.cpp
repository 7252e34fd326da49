// SPDX-License-Identifier: MIT
#include "moe/chat/chat_session.h"

#include <algorithm>
#include <cmath>

#include "moe/base/error.h"
#include "moe/base/str.h"
#include "moe/chat/stop_strings.h"
#include "moe/text/utf8_stream.h"

namespace moe {
namespace {

constexpr size_t kCandidates = 4;

Json message(const char* role, const std::string& content) {
  return JsonObject{{"role", role}, {"content", content}};
}

AnswerToken look_at(std::span<const float> logits_V, int32_t id) {
  double most = -HUGE_VAL, sum = 0;
  for (const float x : logits_V) most = std::max(most, double(x));
  for (const float x : logits_V) sum += std::exp(double(x) - most);
  const auto probability = [&](int32_t i) {
    return std::exp(double(logits_V[size_t(i)]) - most) / sum;
  };
  std::vector<int32_t> order(logits_V.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = int32_t(i);
  const size_t n = std::min(kCandidates, order.size());
  std::partial_sort(order.begin(), order.begin() + std::ptrdiff_t(n), order.end(),
                    [&](int32_t a, int32_t b) {
                      const float x = logits_V[size_t(a)], y = logits_V[size_t(b)];
                      return x > y || (x == y && a < b);
                    });
  AnswerToken out{.id = id, .probability = probability(id), .candidates = {}};
  for (size_t i = 0; i < n; ++i) out.candidates.emplace_back(order[i], probability(order[i]));
  return out;
}

}  // namespace

ChatSession::ChatSession(const TransformerLM& model, ChatEncoder encoder, ChatSettings settings)
    : model_(model), encoder_(std::move(encoder)), settings_(std::move(settings)), decode_(model) {
  check_can_generate(model);
  check_sampler(settings_.sampler);
  if (const auto end = encoder_.end_of_turn_id()) settings_.stop_ids.push_back(*end);
}

JsonArray ChatSession::with_system(const JsonArray& messages) const {
  JsonArray out;
  if (!system_.empty()) out.push_back(message("system", system_));
  out.insert(out.end(), messages.begin(), messages.end());
  return out;
}

Tensor ChatSession::feed_prompt(const std::vector<int32_t>& ids) {
  // The last token is always fed: its logits are wanted.
  const bool goes_on = sequence_ >= 0 && fed_.size() < ids.size() &&
                       std::equal(fed_.begin(), fed_.end(), ids.begin());
  if (!goes_on) {
    forget_cache();
    sequence_ = decode_.add_sequence();
  }
  const std::vector<int32_t> rest(ids.begin() + std::ptrdiff_t(fed_.size()), ids.end());
  fed_ = ids;
  return decode_.feed({{sequence_, rest}});
}

Answer ChatSession::ask(const std::string& text,
                        const std::function<bool(const std::string&)>& show) {
  Answer answer;
  const int64_t context = model_.config().max_seq_len,
                room = std::max<int64_t>(1, std::min(settings_.max_new_tokens, context / 4));
  JsonArray turns = messages_;
  turns.push_back(message("user", text));
  std::vector<int32_t> ids = encoder_.prompt(with_system(turns), nullptr);
  while (std::ssize(ids) + room > context && turns.size() > 1) {
    // Whole turns: up to the next one of the user.
    do {
      turns.erase(turns.begin());
      ++answer.dropped_turns;
    } while (turns.size() > 1 && turns[0].as_object().at("role").as_string() != "user");
    ids = encoder_.prompt(with_system(turns), nullptr);
  }
  MOE_CHECK(std::ssize(ids) < context, "[chat] the turn takes ", ids.size(),
            " tokens, the model's context holds ", context, "; shorten it",
            system_.empty() ? "" : " or the system prompt");

  const Tokenizer& tokenizer = encoder_.tokenizer();
  std::vector<std::string> stops;
  if (!encoder_.end_of_turn_id() && !encoder_.end_of_turn().empty())
    stops.push_back(encoder_.end_of_turn());
  StopStrings scanner(stops);
  Utf8Stream utf8;
  const auto pass_on = [&](const std::string& part) {
    answer.text += part;
    if (!part.empty() && !show(part)) answer.interrupted = true;
  };
  answer.reason = FinishReason::length;
  Tensor logits = feed_prompt(ids);
  while (std::ssize(answer.tokens) < settings_.max_new_tokens) {
    const std::span<const float> row = logits.data<float>();
    const int32_t id = sample_token(row, settings_.sampler, 0, std::ssize(fed_));
    const auto& ends = settings_.stop_ids;
    if (std::find(ends.begin(), ends.end(), id) != ends.end()) {
      answer.reason = FinishReason::stop;
      break;
    }
    answer.tokens.push_back(look_at(row, id));
    if (!tokenizer.is_special(id)) pass_on(utf8.push(scanner.push(tokenizer.token_bytes(id))));
    if (scanner.stopped() || answer.interrupted || !show("")) {
      answer.interrupted = !scanner.stopped();
      answer.reason = FinishReason::stop;
      break;
    }
    if (std::ssize(fed_) >= context) break;
    fed_.push_back(id);
    logits = decode_.feed({{sequence_, {id}}});
  }
  if (!scanner.stopped()) {
    const bool stopped = answer.interrupted;
    pass_on(utf8.push(scanner.finish()));
    pass_on(utf8.finish());
    answer.interrupted = stopped;
  }
  messages_ = std::move(turns);
  messages_.push_back(message("assistant", answer.text));
  return answer;
}

void ChatSession::reset() { messages_.clear(); }

void ChatSession::set_system(const std::string& text) { system_ = text; }

JsonObject ChatSession::save() const { return {{"messages", with_system(messages_)}}; }

void ChatSession::load(const Json& conversation) {
  const JsonObject* object = conversation.if_object();
  const Json* list = object ? object->if_contains("messages") : nullptr;
  MOE_CHECK(list && list->is_array(), "[chat] the file is no {\"messages\": [...]}");
  std::string system;
  JsonArray turns;
  for (size_t i = 0; i < list->as_array().size(); ++i) {
    const JsonObject* turn = list->as_array()[i].if_object();
    const Json *role = turn ? turn->if_contains("role") : nullptr,
               *content = turn ? turn->if_contains("content") : nullptr;
    MOE_CHECK(role && role->is_string() && content && content->is_string(), "[chat] message ",
              i + 1, " needs the texts 'role' and 'content'");
    if (i == 0 && role->as_string() == "system")
      system = std::string(content->as_string());
    else
      turns.push_back(list->as_array()[i]);
  }
  system_ = system;
  messages_ = std::move(turns);
}

void ChatSession::forget_cache() {
  if (sequence_ >= 0) decode_.release(sequence_);
  sequence_ = -1;
  fed_.clear();
}

}  // namespace moe
