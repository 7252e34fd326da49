// SPDX-License-Identifier: MIT
// The tokenizer.json reader: what it accepts, it writes and reads again, and a text comes back.
#include "moe/text/tokenizer_json.h"

#include "fuzz/memory_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::unique_ptr<moe::Tokenizer> tokenizer;
  moe::fuzz::read(
      [&] { tokenizer = moe::tokenizer_from_json(moe::fuzz::text(data, size), "[fuzz]"); });
  if (!tokenizer) return 0;
  const std::string json = moe::tokenizer_to_json(*tokenizer);
  moe::fuzz::require(moe::tokenizer_to_json(*moe::tokenizer_from_json(json, "[fuzz]")) == json);
  return moe::fuzz::read([&] {
    const std::string text = "ab \xc3\xa9\n";
    moe::fuzz::require(tokenizer->decode(tokenizer->encode(text)) == text);
  });
}
