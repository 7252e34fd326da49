// SPDX-License-Identifier: MIT
// The script of a code point (Unicode 14, Scripts.txt), for the pre-tokenizer UnicodeScripts alone.
#pragma once

namespace moe {

/// A number for each script; 0 for a code point without one.
int script_of(char32_t c);
/// By its Unicode name, e.g. "Han", "Common"; 0 when there is none.
int script_number(const char* name);

}  // namespace moe
