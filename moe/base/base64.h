// SPDX-License-Identifier: MIT
// Base64 (RFC 4648, section 4), with padding.
#pragma once

#include <string>
#include <string_view>

namespace moe {

std::string encode_base64(std::string_view bytes);
/// Padding may be missing. Throws Error for anything else that is not base64. what: how errors call
/// the source.
std::string decode_base64(std::string_view text, const std::string& what);

}  // namespace moe
