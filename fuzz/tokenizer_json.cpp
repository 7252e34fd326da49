// SPDX-License-Identifier: MIT
// The tokenizer.json reader.
#include "fuzz/use_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::unique_ptr<moe::Tokenizer> tokenizer;
  moe::fuzz::read(
      [&] { tokenizer = moe::tokenizer_from_json(moe::fuzz::text(data, size), "[fuzz]"); });
  if (tokenizer) moe::fuzz::check_tokenizer(*tokenizer);
  return 0;
}
