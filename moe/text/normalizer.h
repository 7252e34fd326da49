// SPDX-License-Identifier: MIT
// The "normalizer" of a tokenizer.json: what happens to a text before it is cut. All kinds of
// `tokenizers` 0.23: NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace, Prepend,
// BertNormalizer, Precompiled, Nmt, ByteLevel, Sequence.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "moe/base/json.h"
#include "moe/text/vocabulary.h"

namespace moe {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(std::string& text) const = 0;
};

/// null for JSON null and for a sequence of nothing. Throws Error that names an unknown type or a
/// wrong field. what: how errors call the source.
std::unique_ptr<Normalizer> make_normalizer(const Json& json, const std::string& what);

/// SentencePiece's compiled replacement rules: the size of a Darts-clone double array, its units,
/// then NUL-ended replacements (reference: sentencepiece, normalizer.cc).
class PrecompiledCharsMap {
 public:
  /// Throws Error when sizes do not fit.
  PrecompiledCharsMap(std::string blob, const std::string& what);
  /// The replacement of the longest (or the shortest) prefix of text[position ...] that has one:
  /// its bytes go to `size`, 0 when none has.
  std::string_view replacement(std::string_view text, size_t position, bool longest,
                               size_t& size) const;
  /// SentencePiece's rule: longest prefix at each position, else one character unchanged; what
  /// begins with a string of `kept` keeps the longest of them as it is.
  std::string normalize(std::string_view text, const Trie& kept) const;

 private:
  uint32_t unit(size_t i) const;

  std::string blob_;
  size_t n_units_ = 0, replacements_ = 0;
};

}  // namespace moe
