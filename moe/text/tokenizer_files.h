// SPDX-License-Identifier: MIT
// Tokenizers in the files that people have: tokenizer.json, SentencePiece's .model, tiktoken's
// rank files, Mistral's tekken.json, GPT-2's vocab.json with merges.txt, and a folder with any of
// them beside its tokenizer_config.json.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "moe/text/tokenizer_spec.h"

namespace moe {

/// The tokenizer of a file or a folder; the kind of file is told by its content. pattern: how a
/// rank file's text is cut (a name of piece_scanner.h or a regular expression), needed where its
/// size does not tell. Throws Error with one line: the file, what is wrong, what to do.
std::unique_ptr<Tokenizer> read_tokenizer(const std::string& path, const std::string& pattern = "");

/// SentencePiece's ModelProto, of type BPE or Unigram.
TokenizerSpec read_sentencepiece(std::string_view bytes, const std::string& what);
/// Lines "base64 rank". Files of the sizes that OpenAI and Qwen publish get their pattern and their
/// special tokens.
TokenizerSpec read_tiktoken(std::string_view text, const std::string& pattern,
                            const std::string& what);
/// tekken.json.
TokenizerSpec read_tekken(const Json& json, const std::string& what);
/// vocab.json (or encoder.json) and the text of merges.txt (or vocab.bpe).
TokenizerSpec read_gpt2_files(const Json& vocab, std::string_view merges, const std::string& what);

/// What tokenizer_config.json says: special tokens by name, tokens that tokenizer.json lacks, the
/// chat template.
void apply_tokenizer_config(const Json& config, TokenizerSpec& spec, const std::string& what);
/// The tokenizer_config.json to write beside a tokenizer.json.
std::string tokenizer_config_json(const Tokenizer& tokenizer);

/// "Split(regex) then ByteLevel", as tokenizer.json says it; ByteLevel alone for gpt2's pattern.
Json byte_level_pre_tokenizer(std::string_view regex);
Json byte_level_decoder();

}  // namespace moe
