// SPDX-License-Identifier: MIT
// tokenizer.json: the file of Hugging Face `tokenizers` (0.23). Ours are written in its full form,
// so that a file that library loads and saves again is the same document. byte: BPE without merges
// behind ByteLevel, which spells each byte as one printable character; char: WordLevel behind a
// Split into single characters.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "moe/text/tokenizer.h"

namespace moe {

/// The tokenizer.json of a byte or char tokenizer, keys and ids in a fixed order.
std::string tokenizer_to_json(const Tokenizer& tokenizer);

/// The tokenizer that such a text describes. Strict: everything in it must be what
/// tokenizer_to_json writes for the same vocabulary (order and blanks apart), since a step left out
/// would give other ids. Throws Error; for another tokenizer it says which kind it found. what: how
/// errors call the source, e.g. "[tokenizer.json] path".
std::unique_ptr<Tokenizer> tokenizer_from_json(std::string_view text, const std::string& what);

/// Reads such a file. Throws Error as above.
std::unique_ptr<Tokenizer> read_tokenizer(const std::string& path);

}  // namespace moe
