// SPDX-License-Identifier: MIT
// How byte-level tokenizer files spell a byte (GPT-2's bytes_to_unicode): printable Latin-1 as
// itself, the other 68 bytes in ascending order as U+0100, U+0101 ... A spelling only: inside this
// program tokens are bytes.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace moe {

/// The code point of each byte.
const std::array<char32_t, 256>& byte_alphabet();
/// The bytes in the order of their code points: '!' .. '~', A1 .. AC, AE .. FF, 00 .. 20, 7F ..
/// A0, AD. GPT-2's first 256 ids.
const std::array<uint8_t, 256>& bytes_by_spelling();

std::string spell_bytes(std::string_view bytes);
/// The bytes of a spelling; nullopt when a character is outside the alphabet.
std::optional<std::string> bytes_of_spelling(std::string_view spelling);

}  // namespace moe
