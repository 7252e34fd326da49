// SPDX-License-Identifier: MIT
// An exam in conversation: the user's turns of each record are asked one after another, the model's
// own answers standing as its turns, and each answer is compared with the record's.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "moe/data/records.h"
#include "moe/infer/generate.h"
#include "moe/text/chat_encoder.h"

namespace moe {

struct ChatScore {
  int64_t asked = 0, right = 0;
  int64_t ended = 0;                  // answers that the model ended itself
  std::vector<std::string> examples;  // "question -> answer", the first ones
};

struct ChatExam {
  std::map<std::string, ChatScore> of_subject;  // "" for records without one
  std::vector<ChatScore> of_turn;               // first, second ... answer of a conversation
};

struct ChatExamOptions {
  int64_t max_new_tokens = 96;
  std::vector<int32_t> stop_ids;
  std::function<void(double)> progress = {};
};

/// Greedy. An answer is right when it holds every text of the record's `expect`; without those,
/// when it equals the record's answer, blanks at both ends left out. A conversation that outgrows
/// the context counts as wrong from there on.
ChatExam run_chat_exam(const TransformerLM& model, const ChatEncoder& encoder,
                       const std::vector<Record>& records, const ChatExamOptions& options);

}  // namespace moe
