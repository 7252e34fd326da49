// SPDX-License-Identifier: MIT
// The other readers of tokenizers: SentencePiece, tiktoken, Tekken, tokenizer_config.json.
#include "moe/text/tokenizer_files.h"

#include "fuzz/use_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text = moe::fuzz::text(data, size).substr(1);
  std::unique_ptr<moe::Tokenizer> tokenizer;
  moe::fuzz::read([&] {
    moe::TokenizerSpec spec;
    switch (data[0] % 4) {
      case 0: spec = moe::read_sentencepiece(text, "[fuzz]"); break;
      case 1: spec = moe::read_tiktoken(text, "gpt2", "[fuzz]"); break;
      case 2: spec = moe::read_tekken(moe::parse_json(text, "[fuzz]", 16), "[fuzz]"); break;
      default:
        spec.model.vocab = {"a", "b", "</s>"};
        spec.model.kind = moe::TokenModelKind::word_level;
        spec.model.unk_id = 0;
        moe::apply_tokenizer_config(moe::parse_json(text, "[fuzz]", 16), spec, "[fuzz]");
    }
    tokenizer = moe::make_tokenizer(std::move(spec), "[fuzz]");
  });
  if (tokenizer) moe::fuzz::use_tokenizer(*tokenizer);
  return 0;
}
