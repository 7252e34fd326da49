// SPDX-License-Identifier: MIT
#include "moe/data/document_encoder.h"

#include "moe/base/error.h"
#include "moe/base/rng.h"

namespace moe {
namespace {

RngStream draws(uint64_t seed) { return {seed, 0, "fill_in_middle"}; }

}  // namespace

DocumentEncoder::DocumentEncoder(const Tokenizer& tokenizer, double fim_rate, uint64_t seed)
    : tokenizer_(tokenizer), fim_rate_(fim_rate), seed_(seed) {
  if (fim_rate <= 0) return;
  markers_ = find_fim_markers(tokenizer);
  MOE_CHECK(markers_, "data.fim_rate=", fim_rate,
            " needs a tokenizer with markers such as <|fim_prefix|>, <|fim_suffix|> and "
            "<|fim_middle|> (moe tokenizer train --special)");
}

bool DocumentEncoder::cuts(int64_t index) const {
  return markers_ && draws(seed_).uniform(index, 0) < fim_rate_;
}

std::vector<TokenId> DocumentEncoder::encode(std::string_view text, int64_t index) const {
  if (!cuts(index)) return tokenizer_.encode(text);
  const RngStream stream = draws(seed_);
  return fim_sample(*markers_, tokenizer_, text, stream.bits(index, 1), stream.bits(index, 2));
}

}  // namespace moe
