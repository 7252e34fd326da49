// SPDX-License-Identifier: MIT
// What any tokenizer must do, whatever file it came from.
#pragma once

#include "moe/text/tokenizer_json.h"

#include "fuzz/memory_file.h"

namespace moe::fuzz {

/// Encodes texts that tokenizers treat apart; ids must be ids, and decode.
inline void use_tokenizer(const Tokenizer& tokenizer) {
  const std::string texts[] = {"ab \xc3\xa9\n", "a  b\t12 'll <s></s> <|endoftext|>",
                               "\xe2\x96\x81x\xff\xf0\x9f", std::string(100, 'a'),
                               "e\xcc\x81\xe4\xb8\xad\xe6\x96\x87"};
  for (const std::string& text : texts)
    for (const SpecialTokens specials : {SpecialTokens::as_text, SpecialTokens::parse})
      read([&] {
        const std::vector<TokenId> ids = tokenizer.encode(text, specials);
        for (const TokenId id : ids) require(id >= 0 && id < tokenizer.vocab_size());
        tokenizer.decode(ids);
      });
}

/// What was read can be written, and what was written read to the same.
inline void check_tokenizer(const Tokenizer& tokenizer) {
  const std::string json = tokenizer_to_json(tokenizer);
  read([&] { require(tokenizer_to_json(*tokenizer_from_json(json, "[fuzz]")) == json); });
  use_tokenizer(tokenizer);
}

}  // namespace moe::fuzz
