// SPDX-License-Identifier: MIT
#include "moe/text/tokenizer_json.h"

#include "moe/base/error.h"
#include "moe/base/json.h"
#include "moe/base/mmap_file.h"
#include "moe/text/utf8.h"

namespace moe {
namespace {

/// How ByteLevel spells a byte (GPT-2's bytes_to_unicode): printable Latin-1 as itself, the other
/// 68 bytes in ascending order as U+0100, U+0101 ...
std::array<char32_t, 256> byte_level_alphabet() {
  std::array<char32_t, 256> out{};
  char32_t next = 0x100;
  for (uint32_t b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    out[b] = printable ? b : next++;
  }
  return out;
}

JsonObject document(JsonArray added_tokens, JsonObject pre_tokenizer, JsonObject decoder,
                    JsonObject model) {
  return {{"version", "1.0"},          {"truncation", nullptr},
          {"padding", nullptr},        {"added_tokens", std::move(added_tokens)},
          {"normalizer", nullptr},     {"pre_tokenizer", std::move(pre_tokenizer)},
          {"post_processor", nullptr}, {"decoder", std::move(decoder)},
          {"model", std::move(model)}};
}

JsonObject byte_document() {
  JsonObject vocab;
  int64_t id = 0;
  for (const char32_t c : byte_level_alphabet()) {
    std::string spelling;
    append_utf8(spelling, c);
    vocab[spelling] = id++;
  }
  JsonObject end_of_text{{"id", id},        {"content", kEndOfText}, {"single_word", false},
                         {"lstrip", false}, {"rstrip", false},       {"normalized", false},
                         {"special", true}};
  // Only add_prefix_space and use_regex of the pre-tokenizer act; the decoder's flags are what the
  // library writes.
  return document({std::move(end_of_text)},
                  {{"type", "ByteLevel"},
                   {"add_prefix_space", false},
                   {"trim_offsets", true},
                   {"use_regex", false}},
                  {{"type", "ByteLevel"},
                   {"add_prefix_space", true},
                   {"trim_offsets", true},
                   {"use_regex", true}},
                  {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", nullptr},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", false},
                   {"byte_fallback", false},
                   {"ignore_merges", false},
                   {"vocab", std::move(vocab)},
                   {"merges", JsonArray{}}});
}

JsonObject char_vocab(const Tokenizer& tokenizer) {
  JsonObject vocab;
  vocab.reserve(static_cast<size_t>(tokenizer.vocab_size()));
  for (int64_t id = 0; id < tokenizer.vocab_size(); ++id)
    vocab[tokenizer.token_bytes(static_cast<TokenId>(id))] = id;
  return vocab;
}

JsonObject char_document(JsonObject vocab) {
  // "[\s\S]" and not ".", which leaves out the newline. "<unk>" is not in the vocabulary on
  // purpose: the library then refuses an unknown character, as we do, where a BPE would drop it in
  // silence.
  return document({},
                  {{"type", "Split"},
                   {"pattern", JsonObject{{"Regex", "[\\s\\S]"}}},
                   {"behavior", "Isolated"},
                   {"invert", false}},
                  {{"type", "Fuse"}},
                  {{"type", "WordLevel"}, {"vocab", std::move(vocab)}, {"unk_token", "<unk>"}});
}

const JsonObject* object_at(const JsonObject& parent, std::string_view key) {
  const Json* value = parent.if_contains(key);
  return value ? value->if_object() : nullptr;
}

bool has_no_merges(const JsonObject& model) {
  const Json* merges = model.if_contains("merges");
  return merges && merges->is_array() && merges->as_array().empty();
}

std::string type_of(const JsonObject* object) {
  const Json* type = object ? object->if_contains("type") : nullptr;
  return type && type->is_string() ? printable(std::string_view(type->as_string()), 40) : "none";
}

/// "BPE model with 50000 merges, pre-tokenizer ByteLevel": what a foreign file holds.
std::string describe(const JsonObject& root) {
  const JsonObject* model = object_at(root, "model");
  std::string out = str(type_of(model), " model");
  if (const Json* merges = model ? model->if_contains("merges") : nullptr;
      merges && merges->is_array())
    out += str(" with ", merges->as_array().size(), " merges");
  return str(out, ", pre-tokenizer ", type_of(object_at(root, "pre_tokenizer")));
}

std::unique_ptr<Tokenizer> char_tokenizer_from_vocab(const JsonObject& vocab,
                                                     const std::string& what) {
  constexpr char32_t kNone = 0xFFFFFFFF;
  std::vector<char32_t> code_points(vocab.size(), kNone);
  for (const auto& [key, value] : vocab) {
    const std::string_view bytes = key;
    const std::string name = str("the vocabulary's entry '", printable(bytes, 40), "'");
    const Utf8Unit unit = bytes.empty() ? Utf8Unit{} : next_utf8(bytes);
    MOE_CHECK(!bytes.empty() && unit.state == Utf8State::complete && unit.size == bytes.size(),
              what, ": ", name, " is not a single character");
    MOE_CHECK(value.is_int64(), what, ": ", name, " has no whole number as its id");
    const int64_t id = value.as_int64();
    MOE_CHECK(id >= 0 && static_cast<uint64_t>(id) < code_points.size(), what, ": ", name,
              " has id ", id, ", but ", code_points.size(), " entries have the ids 0 .. ",
              code_points.size() - 1);
    char32_t& slot = code_points[static_cast<size_t>(id)];
    MOE_CHECK(slot == kNone, what, ": ", name, " has id ", id, ", which another entry has too");
    slot = unit.code_point;
  }
  MOE_CHECK(!code_points.empty(), what, ": the vocabulary is empty");
  return make_char_tokenizer(std::move(code_points));
}

/// Throws unless both objects are the same; names the first differing key with the path to it.
void check_same(const JsonObject& got, const JsonObject& want, const std::string& path,
                const std::string& what) {
  for (const auto& [key, value] : want) {
    const std::string name = str(path, std::string_view(key));
    const Json* other = got.if_contains(key);
    MOE_CHECK(other, what, ": '", printable(name, 60), "' is missing");
    if (*other == value) continue;
    if (other->is_object() && value.is_object())
      check_same(other->as_object(), value.as_object(), name + ".", what);
    throw Error(str(what, ": '", printable(name, 60), "' is not what this program writes (found ",
                    printable(to_json_line(*other), 80), ")"));
  }
  for (const auto& [key, value] : got)
    MOE_CHECK(want.contains(key), what, ": '", printable(str(path, std::string_view(key)), 60),
              "' is not something that this program writes");
}

}  // namespace

std::string tokenizer_to_json(const Tokenizer& tokenizer) {
  return to_json_pretty(tokenizer.kind() == "byte" ? byte_document()
                                                   : char_document(char_vocab(tokenizer)));
}

std::unique_ptr<Tokenizer> tokenizer_from_json(std::string_view text, const std::string& what) {
  Json json = parse_json(text, what);
  MOE_CHECK(json.is_object(), what, ": not a JSON object");
  JsonObject& root = json.as_object();
  const JsonObject* model = object_at(root, "model");
  MOE_CHECK(model, what, ": it has no 'model'; this is no tokenizer.json");
  const JsonObject* vocab = object_at(*model, "vocab");
  const std::string type = type_of(model),
                    pre_tokenizer = type_of(object_at(root, "pre_tokenizer"));
  if (vocab && type == "BPE" && pre_tokenizer == "ByteLevel" && has_no_merges(*model)) {
    check_same(root, byte_document(), "", what);
    return make_byte_tokenizer();
  }
  if (vocab && type == "WordLevel" && pre_tokenizer == "Split") {
    auto tokenizer = char_tokenizer_from_vocab(*vocab, what);
    root["model"].as_object()["vocab"] = JsonObject{};  // compared above, entry by entry
    check_same(root, char_document({}), "", what);
    return tokenizer;
  }
  throw Error(str(what, ": a tokenizer of another kind (", describe(root),
                  "); this program reads the byte and char tokenizers that it writes"));
}

std::unique_ptr<Tokenizer> read_tokenizer(const std::string& path) {
  // The library's own largest files (250,000 tokens with merges) have about 20 MB.
  constexpr uint64_t kMaxBytes = uint64_t{256} << 20;
  const MmapFile file(
      path);  // refuses what is no regular file: a pipe would wait, a device not end
  MOE_CHECK(file.bytes().size() <= kMaxBytes, "[tokenizer.json] ", printable(path), ": ",
            file.bytes().size(), " bytes, more than the ", kMaxBytes, " that are read here");
  return tokenizer_from_json(
      {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()},
      "[tokenizer.json] " + printable(path));
}

}  // namespace moe
