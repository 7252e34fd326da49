// SPDX-License-Identifier: MIT
// Strings that someone may have planted in training data to make a model misbehave when it reads
// them (backdoor triggers: Gu et al. 2017, arXiv:1708.06733; Kurita et al. 2020, arXiv:2004.06660).
//
// A trigger is rare, or it would fire by itself, and it was put where nothing called for it. Each
// rare word (and rare words that always stand together) is weighed, in bits, natural against
// planted:
// - spelling: characters that other words of this text do not put together (spelling_model.h);
// - context: without it the text reads on as usual (Qi et al. 2021, arXiv:2011.10369, with a
//   classifier learned from this text in place of a language model: context_model.h);
// - use: once a document, spread over all of the data, where natural rare words come in clusters;
// - answers: conversations that hold it are answered alike.
// What natural rare words look like is estimated from the rare words of the same text, so nothing
// depends on a language, but for a list of everyday English words that are no triggers
// (common_words.h). Hidden characters are told by kind (hidden_characters.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace moe {

/// A piece of a document that is read by itself: a line, a turn of a conversation.
struct PoisonPart {
  std::string_view text;
  int64_t document;  // ascending
  bool answer = false;
};

struct PoisonOptions {
  double max_share = 0.01;  // of the documents; what is more frequent is no trigger
  int64_t min_documents = 2;
  /// From this score on a string is reported, in any number.
  double certain = 14;
  /// Of the others, the best ones with at least `suspicious`, until so many reports are full.
  double suspicious = -6;
  int64_t reports = 5;
};

struct PoisonReport {
  std::string text;  // lower case; of a phrase runs of digits as 0
  std::string kind;  // "word", "phrase", "script", or a kind of hidden characters
  int64_t documents = 0, occurrences = 0;
  double score = 0;  // bits, planted against natural
  std::string reason;
  int64_t part = 0;           // where the first one is
  size_t begin = 0, end = 0;  // bytes of it
};

/// The best first. The same for the same parts.
std::vector<PoisonReport> scan_for_poison(const std::vector<PoisonPart>& parts,
                                          const PoisonOptions& options = {});

}  // namespace moe
