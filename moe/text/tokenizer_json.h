// SPDX-License-Identifier: MIT
// tokenizer.json: the file of Hugging Face `tokenizers` (0.23), read and written whole, so that a
// file which that library loads and saves again is the same document. byte is a BPE without merges
// behind ByteLevel, which spells each byte as one printable character; char a WordLevel behind a
// Split into single characters.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "moe/base/json.h"
#include "moe/text/tokenizer_spec.h"

namespace moe {

/// Keys and ids in a fixed order.
std::string tokenizer_to_json(const Tokenizer& tokenizer);

/// The tokenizer that such a text describes. Throws Error that names the part which is wrong or
/// which this program does not know: a step left out would give other ids. what: how errors call
/// the source, e.g. "[tokenizer.json] path".
std::unique_ptr<Tokenizer> tokenizer_from_json(std::string_view text, const std::string& what);

/// The parts of such a text.
TokenizerSpec tokenizer_spec_from_json(const Json& json, const std::string& what);
/// A "byte" or "char" tokenizer where the parts are those that tokenizer_to_json writes for it, so
/// that its errors can say more; else make_tokenizer().
std::unique_ptr<Tokenizer> tokenizer_from_spec(TokenizerSpec spec, const std::string& what);

/// Ids that a hostile file may name are bounded by what it holds: at most this many more than it
/// has entries.
inline constexpr int64_t kMaxIdHoles = int64_t{1} << 16;

}  // namespace moe
