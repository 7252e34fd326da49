// SPDX-License-Identifier: MIT
#include "moe/eval/chat_exam.h"

#include <algorithm>

#include "moe/base/error.h"
#include "moe/base/str.h"
#include "moe/chat/stop_strings.h"

namespace moe {
namespace {

constexpr size_t kBatch = 50, kExamples = 3;

struct Conversation {
  const Record* record;
  std::vector<size_t> questions;  // places of the user's turns in the record
  JsonArray turns;                // so far
};

std::string content_of(const Json& message) {
  const Json* content = message.as_object().if_contains("content");
  return content && content->is_string() ? std::string(content->as_string()) : "";
}

bool has_role(const Json& message, const char* role) {
  return message.as_object().at("role").as_string() == role;
}

bool is_right(const std::string& answer, const Record& record, size_t question) {
  if (!record.expect.empty())
    return std::all_of(record.expect.begin(), record.expect.end(),
                       [&](const std::string& e) { return answer.find(e) != std::string::npos; });
  for (size_t i = question + 1; i < record.messages.size(); ++i)
    if (has_role(record.messages[i], "assistant"))
      return trim(answer) == trim(content_of(record.messages[i]));
  return false;
}

}  // namespace

ChatExam run_chat_exam(const TransformerLM& model, const ChatEncoder& encoder,
                       const std::vector<Record>& records, const ChatExamOptions& options) {
  const Tokenizer& tokenizer = encoder.tokenizer();
  std::vector<int32_t> stop_ids = options.stop_ids;
  std::vector<std::string> stops;
  if (const auto end = encoder.end_of_turn_id())
    stop_ids.push_back(*end);
  else if (!encoder.end_of_turn().empty())
    stops.push_back(encoder.end_of_turn());

  ChatExam exam;
  for (size_t begin = 0; begin < records.size(); begin += kBatch) {
    std::vector<Conversation> batch;
    size_t most = 0;
    for (size_t i = begin; i < std::min(records.size(), begin + kBatch); ++i) {
      MOE_CHECK(!records[i].is_text(), "[exam] line ", records[i].line,
                ": a text; an exam asks conversations");
      Conversation c{.record = &records[i], .questions = {}, .turns = {}};
      for (size_t m = 0; m < records[i].messages.size(); ++m) {
        if (has_role(records[i].messages[m], "user")) c.questions.push_back(m);
        if (has_role(records[i].messages[m], "system") && c.questions.empty())
          c.turns.push_back(records[i].messages[m]);
      }
      most = std::max(most, c.questions.size());
      batch.push_back(std::move(c));
    }
    for (size_t turn = 0; turn < most; ++turn) {
      std::vector<GenerateRequest> requests;
      std::vector<Conversation*> asked;
      std::vector<StopStrings> scanners;
      for (Conversation& c : batch) {
        if (turn >= c.questions.size()) continue;
        c.turns.push_back(c.record->messages[c.questions[turn]]);
        std::vector<int32_t> prompt = encoder.prompt(c.turns, c.record->tools);
        const bool fits = std::ssize(prompt) < model.config().max_seq_len;
        asked.push_back(&c);
        scanners.emplace_back(stops);
        requests.push_back({.prompt_ids = fits ? prompt : std::vector<int32_t>{prompt[0]},
                            .max_new_tokens = fits ? options.max_new_tokens : 0,
                            .sampler = {.temperature = 0},
                            .stop_ids = stop_ids,
                            .key = 0});
      }
      const std::vector<GenerateResult> results =
          generate(model, requests, [&](size_t i, int32_t id) {
            if (!tokenizer.is_special(id)) scanners[i].push(tokenizer.token_bytes(id));
            return !scanners[i].stopped();
          });
      if (exam.of_turn.size() <= turn) exam.of_turn.resize(turn + 1);
      for (size_t i = 0; i < asked.size(); ++i) {
        Conversation& c = *asked[i];
        const size_t question = c.questions[turn];
        StopStrings scanner(stops);
        std::string answer = scanner.push(tokenizer.decode(results[i].ids));
        if (!scanner.stopped()) answer += scanner.finish();
        const bool right = is_right(answer, *c.record, question),
                   ended = results[i].reason == FinishReason::stop;
        for (ChatScore* score : {&exam.of_subject[c.record->subject], &exam.of_turn[turn]}) {
          score->asked += 1;
          score->right += right;
          score->ended += ended;
          if (score->examples.size() < kExamples)
            score->examples.push_back(content_of(c.record->messages[question]) + " -> " + answer);
        }
        c.turns.push_back(JsonObject{{"role", "assistant"}, {"content", answer}});
      }
    }
    if (options.progress)
      options.progress(double(std::min(records.size(), begin + kBatch)) / double(records.size()));
  }
  return exam;
}

}  // namespace moe
