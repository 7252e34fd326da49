// SPDX-License-Identifier: MIT
// Conversations as token ids, and which of them a model learns: a template rendered, cut into
// tokens once as a whole, and what the assistant said marked in it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "moe/text/chat_template_files.h"
#include "moe/text/tokenizer.h"

namespace moe {

/// [begin, end) in bytes, ascending, without overlap.
using ByteSpans = std::vector<std::pair<size_t, size_t>>;

enum class TrainedTurns { every, last };

struct EncodedChat {
  std::vector<TokenId> ids;
  std::vector<uint8_t> trained;  // 1: an id that the model learns to write
};

/// Copies share the template and the tokenizer.
class ChatEncoder {
 public:
  ChatEncoder(ChatSource source, std::shared_ptr<const Tokenizer> tokenizer);

  Rendered render(const JsonArray& messages, const Json& tools, bool add_generation_prompt) const;
  /// What the assistant writes in a rendered conversation, each turn with the token that ends it.
  /// Where the template marks it ({% generation %}), just that. Otherwise from where the generation
  /// prompt of that turn ends (of ChatML: behind the role's line, so that a block of thoughts is
  /// learned too) to the special token behind the assistant's last byte, and a line's end after it.
  /// An answer with "weight": 0 is left out.
  ByteSpans trained_spans(const JsonArray& messages, const Json& tools, const Rendered& rendered,
                          TrainedTurns turns) const;
  /// A token is trained if and only if its first byte lies in a span.
  EncodedChat encode(const JsonArray& messages, const Json& tools, TrainedTurns turns) const;
  /// What a model reads before it answers.
  std::vector<TokenId> prompt(const JsonArray& messages, const Json& tools) const;

  /// The text that ends an assistant's turn ("<|im_end|>"), "" when the template writes none.
  const std::string& end_of_turn() const { return end_of_turn_; }
  /// The same as one id, where the tokenizer has it.
  std::optional<TokenId> end_of_turn_id() const;

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const ChatSource& source() const { return source_; }

 private:
  std::string find_end_of_turn() const;
  size_t special_after(const std::string& text, size_t begin, size_t end) const;

  ChatSource source_;
  std::shared_ptr<const ChatTemplate> template_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::vector<std::string> markers_;  // texts of special tokens
  std::string end_of_turn_;
};

/// 1 for each id whose first byte lies in a span. Where a tokenizer changes the text, so that ids
/// cannot be laid over it, a span begins after as many ids as the text before it has by itself.
std::vector<uint8_t> spans_to_ids(const Tokenizer& tokenizer, const jinja::Text& text,
                                  const std::vector<TokenId>& ids, const ByteSpans& spans);

}  // namespace moe
