// SPDX-License-Identifier: MIT
#include "moe/text/tokenizer.h"

namespace moe {

std::string Tokenizer::decode(std::span<const TokenId> ids) const {
  std::string out;
  for (const TokenId id : ids) {
    const std::string_view bytes = token_bytes(id);  // throws on a bad id, special or not
    if (!is_special(id)) out.append(bytes);
  }
  return out;
}

}  // namespace moe
