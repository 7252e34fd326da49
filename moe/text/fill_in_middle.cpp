// SPDX-License-Identifier: MIT
#include "moe/text/fill_in_middle.h"

#include <algorithm>
#include <array>

#include "moe/base/error.h"

namespace moe {
namespace {

constexpr std::array<std::array<std::string_view, 3>, 4> kFamilies = {{
    {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},
    {"<fim_prefix>", "<fim_suffix>", "<fim_middle>"},
    {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"},
    {"<PRE>", "<SUF>", "<MID>"},
}};

/// The nearest beginning of a character at or before a byte.
size_t character_at(std::string_view text, size_t at) {
  while (at > 0 && at < text.size() && (uint8_t(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

/// None where the tokenizer has no id for one of the marker's characters (`char`).
std::vector<TokenId> marker_ids(const Tokenizer& tokenizer, std::string_view marker) {
  try {
    return tokenizer.encode(marker, SpecialTokens::parse);
  } catch (const Error&) {
    return {};
  }
}

void append(std::vector<TokenId>& to, const std::vector<TokenId>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

std::optional<FimMarkers> find_fim_markers(const Tokenizer& tokenizer) {
  for (const auto& family : kFamilies) {
    std::array<TokenId, 3> ids{};
    bool all = true;
    for (size_t i = 0; i < 3; ++i) {
      const std::vector<TokenId> found = marker_ids(tokenizer, family[i]);
      all = all && found.size() == 1;
      if (all) ids[i] = found[0];
    }
    if (all) return FimMarkers{ids[0], ids[1], ids[2]};
  }
  return std::nullopt;
}

std::vector<TokenId> fim_prompt(const FimMarkers& markers, const std::vector<TokenId>& prefix,
                                const std::vector<TokenId>& suffix) {
  std::vector<TokenId> out = {markers.prefix};
  append(out, prefix);
  out.push_back(markers.suffix);
  append(out, suffix);
  out.push_back(markers.middle);
  return out;
}

std::vector<TokenId> fim_sample(const FimMarkers& markers, const Tokenizer& tokenizer,
                                std::string_view text, uint64_t first_draw, uint64_t second_draw) {
  size_t a = character_at(text, size_t(first_draw % (text.size() + 1))),
         b = character_at(text, size_t(second_draw % (text.size() + 1)));
  if (a > b) std::swap(a, b);
  std::vector<TokenId> out =
      fim_prompt(markers, tokenizer.encode(text.substr(0, a)), tokenizer.encode(text.substr(b)));
  append(out, tokenizer.encode(text.substr(a, b - a)));
  return out;
}

}  // namespace moe
