// SPDX-License-Identifier: MIT
#include "moe/text/tokenizer_files.h"

#include <algorithm>
#include <charconv>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/mmap_file.h"
#include "moe/text/tokenizer_json.h"

namespace moe {
namespace {

// The largest published files (250,000 tokens with merges) have about 35 MB.
constexpr uint64_t kMaxBytes = uint64_t{256} << 20;
// A vocabulary's entry takes up to about 9 times its text.
constexpr uint64_t kMemoryPerByte = 16;

std::string read_text(const std::string& path, const std::string& what) {
  const MmapFile file(
      path);  // refuses what is no regular file: a pipe would wait, a device not end
  MOE_CHECK(file.bytes().size() <= kMaxBytes, what, ": ", file.bytes().size(),
            " bytes, more than the ", kMaxBytes, " that are read here");
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

Json read_config(const std::string& path, const std::string& what) {
  return parse_json(read_text(path, what), what, kMemoryPerByte);
}

/// merges.txt or vocab.bpe beside a vocabulary.
std::string merges_beside(const std::string& vocab_path, const std::string& what) {
  const std::string folder = parent_path(vocab_path);
  for (const char* name : {"merges.txt", "vocab.bpe"})
    if (const std::string path = join_path(folder, name); exists(path))
      return read_text(path, "[merges] " + printable(path));
  throw Error(
      str(what, ": a vocabulary without its merges; put merges.txt (or vocab.bpe) beside it"));
}

TokenizerSpec spec_of_json(const std::string& path, std::string_view text,
                           const std::string& what) {
  Json json = parse_json(text, what, kMemoryPerByte);
  MOE_CHECK(json.is_object(), what, ": not a JSON object");
  const JsonObject& root = json.as_object();
  if (root.contains("model")) return tokenizer_spec_from_json(json, what);
  const Json* vocab = root.if_contains("vocab");
  if (vocab && vocab->is_array() && root.contains("config")) return read_tekken(json, what);
  const bool only_ids = !root.empty() && std::all_of(root.begin(), root.end(), [](const auto& e) {
    return e.value().is_int64();
  });
  if (only_ids) return read_gpt2_files(json, merges_beside(path, what), what);
  throw Error(str(what,
                  ": neither a tokenizer.json (it has no 'model'), nor a tekken.json, nor a "
                  "vocab.json"));
}

TokenizerSpec spec_of_file(const std::string& path, const std::string& pattern,
                           const std::string& what) {
  const std::string text = read_text(path, what);
  MOE_CHECK(!text.empty(), what, ": the file is empty");
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && text[first] == '{') return spec_of_json(path, text, what);
  // Field 1 of a ModelProto, with a length.
  if (text[0] == '\n') return read_sentencepiece(text, what);
  if (starts_with(text, "#version") || ends_with(path, "merges.txt"))
    throw Error(str(what, ": a list of merges; give the vocab.json beside it"));
  return read_tiktoken(text, pattern, what);
}

std::string file_in_folder(const std::string& folder) {
  for (const char* name :
       {"tokenizer.json", "tekken.json", "tokenizer.model", "vocab.json", "encoder.json"})
    if (exists(join_path(folder, name))) return join_path(folder, name);
  std::vector<std::string> found;
  for (const std::string& name : list_directory(folder))
    if (ends_with(name, ".tiktoken")) found.push_back(name);
  MOE_CHECK(!found.empty(), "[tokenizer] ", printable(folder),
            ": no tokenizer.json, tekken.json, tokenizer.model, vocab.json or .tiktoken file");
  MOE_CHECK(found.size() == 1, "[tokenizer] ", printable(folder), ": several .tiktoken files (",
            join(found, ", "), "); give one of them");
  return join_path(folder, found.front());
}

/// Until a configuration says it: the usual names of the token that ends a text.
void guess_special_ids(TokenizerSpec& spec) {
  const auto find = [&](std::initializer_list<const char*> names) -> std::optional<TokenId> {
    for (const char* name : names)
      for (const AddedToken& token : spec.added_tokens)
        if (token.special && token.content == name) return token.id;
    return std::nullopt;
  };
  if (!spec.eos_id)
    spec.eos_id = find({"<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>", "<|im_end|>",
                        "<\xEF\xBD\x9C"
                        "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
                        "[EOS]", "[SEP]"});
  if (!spec.bos_id)
    spec.bos_id = find({"<s>", "<|begin_of_text|>", "<bos>",
                        "<\xEF\xBD\x9C"
                        "begin\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
                        "[BOS]", "[CLS]"});
}

}  // namespace

std::unique_ptr<Tokenizer> read_tokenizer(const std::string& path, const std::string& pattern) {
  const bool is_folder = is_directory(path);
  const std::string file = is_folder ? file_in_folder(path) : path;
  const std::string what =
      str(ends_with(file, ".json") ? "[tokenizer.json] " : "[tokenizer] ", printable(file));
  TokenizerSpec spec = spec_of_file(file, pattern, what);
  const std::string folder = is_folder ? path : parent_path(file);
  guess_special_ids(spec);
  // A configuration speaks for the tokenizer.json beside it; a single file of another name stands
  // for itself.
  if (is_folder || file_name(file) == "tokenizer.json") {
    const std::string config = join_path(folder, "tokenizer_config.json");
    if (exists(config))
      apply_tokenizer_config(read_config(config, "[tokenizer_config.json] " + printable(config)),
                             spec, "[tokenizer_config.json] " + printable(config));
    const std::string jinja = join_path(folder, "chat_template.jinja");
    if (exists(jinja)) spec.chat_template = read_text(jinja, "[chat_template] " + printable(jinja));
  }
  return tokenizer_from_spec(std::move(spec), what);
}

TokenizerSpec read_gpt2_files(const Json& vocab, std::string_view merges, const std::string& what) {
  JsonArray list;
  while (!merges.empty()) {
    std::string_view line = merges.substr(0, merges.find('\n'));
    merges.remove_prefix(std::min(merges.size(), line.size() + 1));
    if (ends_with(line, "\r")) line.remove_suffix(1);
    if (line.empty() || (list.empty() && starts_with(line, "#version"))) continue;
    list.push_back(Json(line));
  }
  JsonArray added;
  for (const char* name : {"<|endoftext|>", "<s>", "<pad>", "</s>", "<unk>", "<mask>"})
    if (const Json* id = vocab.as_object().if_contains(name))
      added.push_back(JsonObject{{"id", *id},
                                 {"content", name},
                                 {"lstrip", std::string_view(name) == "<mask>"},
                                 {"special", true}});
  return tokenizer_spec_from_json(
      JsonObject{
          {"added_tokens", std::move(added)},
          {"pre_tokenizer", JsonObject{{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"decoder", byte_level_decoder()},
          {"model", JsonObject{{"type", "BPE"}, {"vocab", vocab}, {"merges", std::move(list)}}}},
      what);
}

// ---- tokenizer_config.json ------------------------------------------------------------------

namespace {

/// A token's text: a string, or an object with "content".
std::string token_text(const Json& value, const std::string& what, std::string_view key) {
  if (value.is_null()) return "";
  if (const auto* text = value.if_string()) return std::string(*text);
  MOE_CHECK(value.is_object(), what, ": '", key, "' is neither a text nor an object");
  return JsonReader(value.as_object(), what).string_or("content", "");
}

void add_listed_tokens(const JsonObject& list, TokenizerSpec& spec, const std::string& what) {
  const int64_t limit = spec.vocab_size() + std::ssize(list) + kMaxIdHoles;
  for (const auto& [key, value] : list) {
    const std::string_view digits = key;
    int64_t id = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), id);
    MOE_CHECK(error == std::errc() && end == digits.data() + digits.size() && id >= 0 && id < limit,
              what, ": added_tokens_decoder has the id '", printable(digits, 20),
              "', but the vocabulary has ", spec.vocab_size(), " tokens");
    MOE_CHECK(value.is_object(), what, ": an entry of added_tokens_decoder is no object");
    const JsonReader r(value.as_object(), what + ": added_tokens_decoder");
    const std::string content = r.string("content");
    const auto same = std::find_if(spec.added_tokens.begin(), spec.added_tokens.end(),
                                   [&](const AddedToken& t) { return t.content == content; });
    if (content.empty() || same != spec.added_tokens.end()) continue;
    spec.added_tokens.push_back({.id = static_cast<TokenId>(id),
                                 .content = content,
                                 .single_word = r.boolean_or("single_word", false),
                                 .lstrip = r.boolean_or("lstrip", false),
                                 .rstrip = r.boolean_or("rstrip", false),
                                 .normalized = r.boolean_or("normalized", false),
                                 .special = r.boolean_or("special", false)});
  }
}

std::optional<TokenId> id_of(const TokenizerSpec& spec, const std::string& text) {
  if (text.empty()) return std::nullopt;
  for (const AddedToken& token : spec.added_tokens)
    if (token.content == text) return token.id;
  const auto found = std::find(spec.model.vocab.begin(), spec.model.vocab.end(), text);
  if (found == spec.model.vocab.end()) return std::nullopt;
  return static_cast<TokenId>(found - spec.model.vocab.begin());
}

}  // namespace

void apply_tokenizer_config(const Json& config, TokenizerSpec& spec, const std::string& what) {
  MOE_CHECK(config.is_object(), what, ": not a JSON object");
  const JsonObject& root = config.as_object();
  if (const Json* list = root.if_contains("added_tokens_decoder"); list && list->is_object())
    add_listed_tokens(list->as_object(), spec, what);
  const auto set = [&](const char* key, std::optional<TokenId>& id) {
    const Json* value = root.if_contains(key);
    if (!value) return;
    const std::string text = token_text(*value, what, key);
    // null: there is none, whatever its usual name would be. A text that is no token says nothing.
    if (const std::optional<TokenId> found = id_of(spec, text); found || text.empty()) id = found;
  };
  set("bos_token", spec.bos_id);
  set("eos_token", spec.eos_id);
  set("pad_token", spec.pad_id);
  if (const Json* chat = root.if_contains("chat_template")) {
    if (const auto* text = chat->if_string()) spec.chat_template = *text;
    if (const JsonArray* list = chat->if_array())
      for (const Json& entry : *list) {
        MOE_CHECK(entry.is_object(), what, ": an entry of chat_template is no object");
        const JsonReader r(entry.as_object(), what + ": chat_template");
        if (spec.chat_template.empty() || r.string("name") == "default")
          spec.chat_template = r.string("template");
      }
  }
}

std::string tokenizer_config_json(const Tokenizer& tokenizer) {
  JsonObject out{{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"clean_up_tokenization_spaces", false},
                 {"add_prefix_space", false}};
  const auto text = [&](std::optional<TokenId> id) {
    return id ? Json(tokenizer.token_bytes(*id)) : Json(nullptr);
  };
  out["bos_token"] = text(tokenizer.bos_id());
  out["eos_token"] = text(tokenizer.eos_id());
  if (const TokenizerSpec* spec = tokenizer.spec()) {
    out["pad_token"] = text(spec->pad_id);
    if (spec->model.unk_id)
      out["unk_token"] = spec->model.vocab[static_cast<size_t>(*spec->model.unk_id)];
    JsonObject added;
    for (const AddedToken& t : spec->added_tokens)
      added[std::to_string(t.id)] = JsonObject{
          {"content", t.content}, {"lstrip", t.lstrip},           {"normalized", t.normalized},
          {"rstrip", t.rstrip},   {"single_word", t.single_word}, {"special", t.special}};
    out["added_tokens_decoder"] = std::move(added);
    if (!spec->chat_template.empty()) out["chat_template"] = spec->chat_template;
  }
  return to_json_pretty(out);
}

}  // namespace moe
