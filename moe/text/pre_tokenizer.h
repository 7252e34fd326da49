// SPDX-License-Identifier: MIT
// The "pre_tokenizer" of a tokenizer.json: how a text is cut into pieces before the model sees
// them. All kinds of `tokenizers` 0.23: ByteLevel, Split, Metaspace, Digits, Punctuation,
// Whitespace, WhitespaceSplit, CharDelimiterSplit, BertPreTokenizer, UnicodeScripts, FixedLength,
// Sequence.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "moe/base/json.h"
#include "moe/text/piece_scanner.h"

namespace moe {

/// A text in pieces. A step replaces `list` by finer pieces; the bytes of a piece that a step
/// changed lie in `owned`.
struct Pieces {
  std::vector<std::string_view> list;
  std::deque<std::string> owned;
  /// Whether the first piece begins where the whole text begins, before anything was added.
  bool at_text_start = true;
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void split(Pieces& pieces) const = 0;
  /// The scanner that does all that this step does, if one does.
  virtual PieceScanner scanner() const { return nullptr; }
};

/// Steps in order, and whether the last one spells the bytes of every piece in the byte alphabet,
/// which a byte-level model can leave out.
struct PreTokenizerSteps {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  bool ends_in_bytes = false;

  void split(Pieces& pieces) const;
};

/// Empty for JSON null. Throws Error that names an unknown type or a wrong field.
PreTokenizerSteps make_pre_tokenizer(const Json& json, const std::string& what);

}  // namespace moe
