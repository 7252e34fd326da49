// SPDX-License-Identifier: MIT
// The built-in corpus `demo`: endless, deterministic samples of five subjects, each a prompt with
// one right answer, so that a small model can be judged after minutes, and experts can be seen to
// take up subjects. Any sample is reached directly by its number. A prompt belongs to validation if
// and only if stable_hash(prompt) % 10 == 0; the training split never holds such a prompt.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "moe/base/rng.h"

namespace moe {

enum class Split { train, validation };

/// text() is one line; both parts are ASCII.
struct DemoSample {
  int subject = 0;  // index into demo_subject_names()
  std::string prompt;
  std::string answer;  // of arithmetic: the working, then the result
  std::string text() const { return prompt + answer + "\n"; }
};

/// stories, arithmetic, strings, recall, code.
const std::vector<std::string>& demo_subject_names();
/// The index of a subject. Throws Error that names the nearest one.
int demo_subject(std::string_view name);

/// Whether a model's continuation of the prompt is right: its first line, blanks at both ends left
/// out, equals the answer; of arithmetic only the result, the word after the last blank, counts.
bool demo_correct(const DemoSample& sample, std::string_view generated);

/// Whether a prompt is kept for validation.
bool demo_held_out(std::string_view prompt);

/// Every character that a sample can hold, ascending.
std::string demo_alphabet();

class DemoCorpus {
 public:
  explicit DemoCorpus(uint64_t seed) : seed_(seed) {}
  /// Sample number index >= 0 of a split; its subject is drawn, stories half as often as the
  /// others.
  DemoSample sample(Split split, int64_t index) const;
  /// Sample number index >= 0 of one subject (another stream than the above).
  DemoSample sample(Split split, int subject, int64_t index) const;

 private:
  DemoSample draw(const RngStream& stream, int subject, Split split, int64_t index) const;
  uint64_t seed_;
};

}  // namespace moe
