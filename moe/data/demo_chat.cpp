// SPDX-License-Identifier: MIT
#include "moe/data/demo_chat.h"

#include "moe/base/error.h"
#include "moe/base/rng.h"
#include "moe/base/str.h"

namespace moe {

std::vector<Record> demo_conversations(Split split, const std::vector<int>& subjects, int64_t n,
                                       int64_t min_turns, int64_t max_turns, uint64_t seed) {
  MOE_CHECK(
      !subjects.empty() && min_turns >= 1 && max_turns >= min_turns,
      "[demo] a conversation needs a subject, a turn, and no more turns at least than at most");
  const DemoCorpus corpus(seed);
  const RngStream draws(seed, split == Split::train ? 0 : 1, "demo.chat");
  std::vector<Record> out;
  for (int64_t i = 0; i < n; ++i) {
    Record record;
    const auto turns = min_turns + int64_t(draws.below(uint64_t(max_turns - min_turns + 1), i, 0));
    for (int64_t t = 0; t < turns; ++t) {
      const int subject = subjects[draws.below(subjects.size(), i, 1 + t)];
      const DemoSample s = corpus.sample(split, subject, i * max_turns + t);
      record.messages.push_back(JsonObject{{"role", "user"}, {"content", trim(s.prompt)}});
      record.messages.push_back(JsonObject{{"role", "assistant"}, {"content", trim(s.answer)}});
      record.subject = turns > 1 ? "turns" : demo_subject_names()[size_t(subject)];
    }
    out.push_back(std::move(record));
  }
  return out;
}

}  // namespace moe
