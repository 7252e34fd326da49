// SPDX-License-Identifier: MIT
// Byte-level vocabularies as ranks: tiktoken's "base64 rank" lines and Mistral's tekken.json. There
// any two neighbours whose bytes together are a token may merge, at the rank of that token. Where
// every token has exactly one way to come about (true of all published files), that is a list of
// merges; else all splits of every token go into the list.
#include <algorithm>
#include <charconv>

#include "moe/base/base64.h"
#include "moe/base/error.h"
#include "moe/text/byte_alphabet.h"
#include "moe/text/piece_scanner.h"
#include "moe/text/tokenizer_files.h"
#include "moe/text/tokenizer_json.h"
#include "moe/text/vocabulary.h"

namespace moe {
namespace {

// A token's bytes in the order of ranks; "" for a rank that is left out.
using Ranks = std::vector<std::string>;

/// The two parts that merge last in a token, with only ranks below its own; false when other than
/// two are left.
bool parts_of(const StringIds& ids, std::string_view token, TokenId rank, TokenId& left,
              TokenId& right) {
  std::vector<size_t> starts;
  for (size_t i = 0; i <= token.size(); ++i) starts.push_back(i);
  while (starts.size() > 3) {
    TokenId best = rank;
    size_t at = 0;
    for (size_t i = 0; i + 2 < starts.size(); ++i) {
      const TokenId id = ids.find(token.substr(starts[i], starts[i + 2] - starts[i]));
      if (id >= 0 && id < best) {
        best = id;
        at = i;
      }
    }
    if (best == rank) return false;
    starts.erase(starts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
  left = ids.find(token.substr(0, starts[1]));
  right = ids.find(token.substr(starts[1]));
  return left >= 0 && right >= 0;
}

/// Merges over ranks; a token's id is its rank.
std::vector<TokenModelSpec::Merge> merges_of(const Ranks& ranks, const std::string& what) {
  constexpr size_t kLongest = 1024;  // published files: 128
  StringIds ids(ranks.size());
  for (size_t i = 0; i < ranks.size(); ++i)
    if (!ranks[i].empty())
      MOE_CHECK(ids.add(ranks[i], static_cast<TokenId>(i)), what, ": the token '",
                printable(ranks[i], 40), "' comes twice");
  std::vector<TokenModelSpec::Merge> out;
  bool single_way = true;
  for (size_t i = 0; i < ranks.size() && single_way; ++i) {
    if (ranks[i].size() < 2) continue;
    MOE_CHECK(ranks[i].size() <= kLongest, what, ": the token of rank ", i, " has ",
              ranks[i].size(), " bytes; at most ", kLongest, " are supported");
    TokenModelSpec::Merge merge{-1, -1, static_cast<TokenId>(i)};
    single_way = parts_of(ids, ranks[i], merge.result, merge.left, merge.right);
    out.push_back(merge);
  }
  if (single_way) return out;
  out.clear();
  for (size_t i = 0; i < ranks.size(); ++i) {
    MOE_CHECK(ranks[i].size() <= kLongest, what, ": the token of rank ", i, " has ",
              ranks[i].size(), " bytes; at most ", kLongest, " are supported");
    for (size_t cut = 1; cut < ranks[i].size(); ++cut) {
      const std::string_view token = ranks[i];
      const TokenId left = ids.find(token.substr(0, cut)), right = ids.find(token.substr(cut));
      if (left >= 0 && right >= 0) out.push_back({left, right, static_cast<TokenId>(i)});
    }
  }
  return out;
}

struct Published {
  size_t n_ranks;
  std::string_view pattern;
  bool nfc;
  std::vector<std::pair<std::string_view, TokenId>> specials;
};

const std::vector<Published>& published() {
  static const std::vector<Published> all = {
      {50256, "gpt2", false, {{"<|endoftext|>", 50256}}},  // r50k
      {50281, "gpt2", false, {{"<|endoftext|>", 50256}}},  // p50k
      {100256,
       "cl100k",
       false,
       {{"<|endoftext|>", 100257},
        {"<|fim_prefix|>", 100258},
        {"<|fim_middle|>", 100259},
        {"<|fim_suffix|>", 100260},
        {"<|endofprompt|>", 100276}}},
      {199998, "o200k", false, {{"<|endoftext|>", 199999}, {"<|endofprompt|>", 200018}}},
      {151643,
       "qwen2",
       true,
       {{"<|endoftext|>", 151643}, {"<|im_start|>", 151644}, {"<|im_end|>", 151645}}},
      {128000,
       "llama3",
       false,
       {{"<|begin_of_text|>", 128000},
        {"<|end_of_text|>", 128001},
        {"<|start_header_id|>", 128006},
        {"<|end_header_id|>", 128007},
        {"<|eom_id|>", 128008},
        {"<|eot_id|>", 128009},
        {"<|python_tag|>", 128010}}}};
  return all;
}

}  // namespace

Json byte_level_pre_tokenizer(std::string_view regex) {
  const bool gpt2 = regex == find_split_pattern("gpt2").regex;
  JsonObject bytes{{"type", "ByteLevel"},
                   {"add_prefix_space", false},
                   {"trim_offsets", true},
                   {"use_regex", gpt2}};
  if (gpt2) return bytes;
  return JsonObject{
      {"type", "Sequence"},
      {"pretokenizers", JsonArray{JsonObject{{"type", "Split"},
                                             {"pattern", JsonObject{{"Regex", regex}}},
                                             {"behavior", "Isolated"},
                                             {"invert", false}},
                                  std::move(bytes)}}};
}

Json byte_level_decoder() {
  return JsonObject{{"type", "ByteLevel"},
                    {"add_prefix_space", true},
                    {"trim_offsets", true},
                    {"use_regex", true}};
}

TokenizerSpec read_tiktoken(std::string_view text, const std::string& pattern,
                            const std::string& what) {
  Ranks ranks;
  size_t n_lines = 0;
  int64_t line_number = 0;
  const size_t most = text.size() / 4 + 1 + static_cast<size_t>(kMaxIdHoles);
  while (!text.empty()) {
    ++line_number;
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (ends_with(line, "\r")) line.remove_suffix(1);
    if (line.empty()) continue;
    const size_t space = line.find(' ');
    size_t rank = 0;
    const bool has_rank =
        space != std::string_view::npos &&
        std::from_chars(line.data() + space + 1, line.data() + line.size(), rank).ptr ==
            line.data() + line.size();
    MOE_CHECK(has_rank && space + 1 < line.size(), what, ": line ", line_number, " '",
              printable(line, 40), "' is not 'base64 rank'; this is no tiktoken file");
    const std::string token = decode_base64(line.substr(0, space), what);
    MOE_CHECK(!token.empty(), what, ": line ", line_number, " has an empty token");
    MOE_CHECK(rank < most, what, ": line ", line_number, " has rank ", rank,
              ", more than the file can hold");
    if (rank >= ranks.size()) ranks.resize(rank + 1);
    MOE_CHECK(ranks[rank].empty(), what, ": line ", line_number, ": rank ", rank, " comes twice");
    ranks[rank] = token;
    ++n_lines;
  }
  MOE_CHECK(n_lines > 0, what, ": the file is empty");

  TokenizerSpec spec;
  const auto known = std::find_if(published().begin(), published().end(),
                                  [&](const Published& p) { return p.n_ranks == ranks.size(); });
  const bool is_published = known != published().end();
  MOE_CHECK(is_published || !pattern.empty(), what, ": ", ranks.size(),
            " ranks are no published vocabulary, so say how text is cut: --pattern gpt2 (or "
            "cl100k, llama3, o200k, qwen2, or a regular expression)");
  const std::string regex = split_regex(pattern.empty() ? std::string(known->pattern) : pattern);
  spec.model.merges = merges_of(ranks, what);
  spec.model.ignore_merges = true;
  for (const std::string& token : ranks) spec.model.vocab.push_back(spell_bytes(token));
  if (is_published) {
    for (const auto& [content, id] : known->specials)
      spec.added_tokens.push_back({.id = id, .content = std::string(content), .special = true});
    for (const AddedToken& token : spec.added_tokens) {
      if (token.content == "<|begin_of_text|>") spec.bos_id = token.id;
      if (token.content == "<|endoftext|>" || token.content == "<|end_of_text|>")
        spec.eos_id = token.id;
    }
    if (known->nfc) spec.normalizer = JsonObject{{"type", "NFC"}};
  }
  spec.pre_tokenizer = byte_level_pre_tokenizer(regex);
  spec.decoder = byte_level_decoder();
  return spec;
}

TokenizerSpec read_tekken(const Json& json, const std::string& what) {
  MOE_CHECK(json.is_object(), what, ": not a JSON object");
  const JsonReader r(json.as_object(), what);
  const Json& config_json = r.at("config");
  const Json& vocab = r.at("vocab");
  MOE_CHECK(config_json.is_object() && vocab.is_array(), what, ": 'config' or 'vocab' is missing");
  const JsonReader config(config_json.as_object(), what + ": config");
  const int64_t n_special = config.integer_or("default_num_special_tokens", 1000),
                size = config.integer("default_vocab_size");
  MOE_CHECK(n_special >= 0 && size > n_special &&
                size - n_special <= std::ssize(vocab.as_array()) && n_special <= 1'000'000,
            what, ": default_vocab_size is ", size, " with ", n_special, " special tokens, but ",
            vocab.as_array().size(), " tokens are listed");
  Ranks ranks(static_cast<size_t>(size - n_special));
  for (const Json& entry : vocab.as_array()) {
    MOE_CHECK(entry.is_object(), what, ": an entry of 'vocab' is no object");
    const JsonReader e(entry.as_object(), what + ": vocab");
    const int64_t rank = e.integer("rank");
    if (rank >= std::ssize(ranks)) continue;
    MOE_CHECK(rank >= 0 && ranks[static_cast<size_t>(rank)].empty(), what, ": rank ", rank,
              " comes twice or is negative");
    ranks[static_cast<size_t>(rank)] = decode_base64(e.string("token_bytes"), what);
  }
  TokenizerSpec spec;
  spec.model.merges = merges_of(ranks, what);
  for (auto& merge : spec.model.merges)
    for (TokenId* id : {&merge.left, &merge.right, &merge.result})
      *id += static_cast<TokenId>(n_special);
  spec.model.ignore_merges = true;
  spec.model.vocab.resize(static_cast<size_t>(n_special));
  for (const std::string& token : ranks) spec.model.vocab.push_back(spell_bytes(token));
  std::vector<std::string> specials(static_cast<size_t>(n_special));
  // Files of the first version do not list them.
  constexpr const char* kFirst[] = {"<unk>",
                                    "<s>",
                                    "</s>",
                                    "[INST]",
                                    "[/INST]",
                                    "[AVAILABLE_TOOLS]",
                                    "[/AVAILABLE_TOOLS]",
                                    "[TOOL_RESULTS]",
                                    "[/TOOL_RESULTS]",
                                    "[TOOL_CALLS]",
                                    "[IMG]",
                                    "<pad>",
                                    "[IMG_BREAK]",
                                    "[IMG_END]",
                                    "[PREFIX]",
                                    "[MIDDLE]",
                                    "[SUFFIX]",
                                    "[SYSTEM_PROMPT]",
                                    "[/SYSTEM_PROMPT]",
                                    "[TOOL_CONTENT]"};
  for (size_t i = 0; i < specials.size(); ++i)
    specials[i] = i < std::size(kFirst) ? kFirst[i] : str("<SPECIAL_", i, ">");
  if (r.has("special_tokens")) {
    const Json& list = r.at("special_tokens");
    MOE_CHECK(list.is_array(), what, ": 'special_tokens' is no list");
    for (const Json& entry : list.as_array()) {
      MOE_CHECK(entry.is_object(), what, ": an entry of 'special_tokens' is no object");
      const JsonReader e(entry.as_object(), what + ": special_tokens");
      const int64_t rank = e.integer("rank");
      MOE_CHECK(rank >= 0 && rank < n_special, what, ": special token ", rank, " of ", n_special);
      specials[static_cast<size_t>(rank)] = e.string("token_str");
    }
  }
  for (size_t i = 0; i < specials.size(); ++i) {
    if (specials[i].empty()) continue;
    const auto id = static_cast<TokenId>(i);
    spec.added_tokens.push_back({.id = id, .content = specials[i], .special = true});
    if (specials[i] == "<s>") spec.bos_id = id;
    if (specials[i] == "</s>") spec.eos_id = id;
  }
  spec.pre_tokenizer = byte_level_pre_tokenizer(config.string("pattern"));
  spec.decoder = byte_level_decoder();
  return spec;
}

}  // namespace moe
