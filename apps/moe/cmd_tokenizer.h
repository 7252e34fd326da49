// SPDX-License-Identifier: MIT
// What the parts of `moe tokenizer` share.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "moe/text/tokenizer.h"

namespace moe {

/// "byte", or any file or folder that read_tokenizer() reads.
std::shared_ptr<const Tokenizer> open_any_tokenizer(const std::string& name,
                                                    const std::string& pattern);
/// out: a .json file, or a folder, which gets tokenizer.json and tokenizer_config.json.
void write_tokenizer(const Tokenizer& tokenizer, const std::string& out);

/// How a tokenizer does on a text.
struct TextMeasure {
  int64_t bytes = 0, tokens = 0, words = 0;  // words: what blanks separate
  int64_t unknown = 0;                       // tokens that stand for what has none
  int64_t used = 0;                          // different tokens
  double bytes_per_token() const { return tokens ? double(bytes) / double(tokens) : 0; }
  double fertility() const { return words ? double(tokens) / double(words) : 0; }  // tokens a word
};
/// A command below `moe tokenizer` and what runs it.
struct TokenizerCommand {
  CLI::App* app;
  std::function<int()> run;
};
TokenizerCommand add_tokenizer_train(CLI::App& parent);
TokenizerCommand add_tokenizer_compare(CLI::App& parent);

TextMeasure measure(const Tokenizer& tokenizer, std::string_view text);

}  // namespace moe
