// SPDX-License-Identifier: MIT
#include "moe/data/demo_corpus.h"

#include "moe/base/error.h"
#include "moe/data/demo_subjects.h"

namespace moe {
namespace {

constexpr uint64_t kHeldOutOneIn = 10;

std::string last_word(std::string_view text) {
  const size_t blank = text.rfind(' ');
  return std::string(blank == std::string_view::npos ? text : text.substr(blank + 1));
}

int draw_subject(const RngStream& stream, int64_t index) {
  int total = 0;
  for (const DemoSubject& subject : kDemoSubjects) total += subject.weight;
  auto left = static_cast<int>(stream.below(static_cast<uint64_t>(total), index, 0));
  int subject = 0;
  while (left >= kDemoSubjects[static_cast<size_t>(subject)].weight)
    left -= kDemoSubjects[static_cast<size_t>(subject++)].weight;
  return subject;
}

std::string purpose(Split split, std::string_view stream) {
  return str("demo.", split == Split::train ? "train." : "validation.", stream);
}

}  // namespace

const std::vector<std::string>& demo_subject_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (const DemoSubject& subject : kDemoSubjects) out.emplace_back(subject.name);
    return out;
  }();
  return names;
}

int demo_subject(std::string_view name) {
  const std::vector<std::string>& names = demo_subject_names();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found != names.end()) return static_cast<int>(found - names.begin());
  const std::string nearest = nearest_word(name, names);
  throw Error(str("[demo] no subject '", printable(name, 40), "'",
                  nearest.empty() ? "" : "; did you mean '", nearest, nearest.empty() ? "" : "'?",
                  " (subjects: ", join(names, ", "), ")"),
              ExitCode::usage);
}

bool demo_correct(const DemoSample& sample, std::string_view generated) {
  const std::string line = trim(generated.substr(0, generated.find('\n')));
  const std::string want = trim(sample.answer);
  static const int arithmetic = demo_subject("arithmetic");
  return sample.subject == arithmetic ? last_word(line) == last_word(want) : line == want;
}

bool demo_held_out(std::string_view prompt) { return stable_hash(prompt) % kHeldOutOneIn == 0; }

std::string demo_alphabet() {
  return "\n #'()*+,.0123456789:;=?ABCDEFGHIJKLMNOPQRSTUVWZabcdefghijklmnoprstuvwxyz";
}

DemoSample DemoCorpus::sample(Split split, int64_t index) const {
  const int subject = draw_subject(RngStream(seed_, 0, purpose(split, "subject")), index);
  return draw(RngStream(seed_, 0, purpose(split, "mixed")), subject, split, index);
}

DemoSample DemoCorpus::sample(Split split, int subject, int64_t index) const {
  MOE_CHECK(subject >= 0 && static_cast<size_t>(subject) < kDemoSubjects.size(), "[demo] subject ",
            subject, " is not one of 0 .. ", kDemoSubjects.size() - 1);
  return draw(RngStream(seed_, 0, purpose(split, kDemoSubjects[static_cast<size_t>(subject)].name)),
              subject, split, index);
}

DemoSample DemoCorpus::draw(const RngStream& stream, int subject, Split split,
                            int64_t index) const {
  MOE_CHECK(index >= 0, "[demo] sample ", index, " is negative");
  DemoDraws draws(stream, index);
  // A training sample is drawn again 1 time in 10, one of validation 9 times in 10: both end, with
  // probability 1.
  while (true) {
    DemoTask task = kDemoSubjects[static_cast<size_t>(subject)].draw(draws);
    if (demo_held_out(task.prompt) == (split == Split::validation))
      return {subject, std::move(task.prompt), std::move(task.answer)};
  }
}

}  // namespace moe
