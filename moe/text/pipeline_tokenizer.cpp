// SPDX-License-Identifier: MIT
// The pipeline of `tokenizers`: added tokens are cut out, the text between them is normalised, cut
// into pieces and encoded by the model; decoding joins what tokens spell.
#include <algorithm>

#include "moe/base/error.h"
#include "moe/base/utf8.h"
#include "moe/text/byte_alphabet.h"
#include "moe/text/normalizer.h"
#include "moe/text/pre_tokenizer.h"
#include "moe/text/token_decoder.h"
#include "moe/text/tokenizer_spec.h"

namespace moe {
namespace {

constexpr std::string_view kMetaspace = "\xE2\x96\x81";

/// How a token's text becomes bytes when it stands within others.
enum class Spelling {
  bytes,      // the byte alphabet
  metaspace,  // U+2581 is a space, <0xNN> a byte, and one space goes at the begin of a text
  chain,      // as the file's decoder says
  spaced      // there is no decoder: tokens with a space between
};

bool is_type(const Json& json, std::string_view type) {
  const JsonObject* object = json.if_object();
  const Json* found = object ? object->if_contains("type") : nullptr;
  return found && found->is_string() && std::string_view(found->as_string()) == type;
}

bool equals(const JsonObject& object, std::string_view key, const Json& value) {
  const Json* found = object.if_contains(key);
  return found && *found == value;
}

Spelling spelling_of(const Json& decoder, bool& drops_first_space) {
  drops_first_space = false;
  if (decoder.is_null()) return Spelling::spaced;
  if (is_type(decoder, "ByteLevel")) return Spelling::bytes;
  if (!is_type(decoder, "Sequence")) return Spelling::chain;
  const Json* parts = decoder.as_object().if_contains("decoders");
  const JsonArray* list = parts ? parts->if_array() : nullptr;
  if (!list || (list->size() != 3 && list->size() != 4)) return Spelling::chain;
  const Json& replace = (*list)[0];
  const bool restores_spaces =
      is_type(replace, "Replace") && is_type((*list)[1], "ByteFallback") &&
      is_type((*list)[2], "Fuse") && equals(replace.as_object(), "content", " ") &&
      equals(replace.as_object(), "pattern", JsonObject{{"String", kMetaspace}});
  if (!restores_spaces) return Spelling::chain;
  if (list->size() == 4) {
    const Json& strip = (*list)[3];
    if (!is_type(strip, "Strip") || !equals(strip.as_object(), "content", " ") ||
        !equals(strip.as_object(), "start", 1) || !equals(strip.as_object(), "stop", 0))
      return Spelling::chain;
    drops_first_space = true;
  }
  return Spelling::metaspace;
}

/// The steps of a decoder, those within a Sequence one by one.
void collect_steps(const Json& decoder, std::vector<const JsonObject*>& out) {
  const JsonObject* object = decoder.if_object();
  if (!object) return;
  const Json* parts = object->if_contains("decoders");
  if (!parts || !parts->is_array()) {
    out.push_back(object);
    return;
  }
  for (const Json& part : parts->as_array()) collect_steps(part, out);
}

std::string with_spaces(std::string_view text) {
  std::string out;
  for (size_t at; (at = text.find(kMetaspace)) != std::string_view::npos;) {
    out += text.substr(0, at);
    out += ' ';
    text.remove_prefix(at + kMetaspace.size());
  }
  return out += text;
}

class PipelineTokenizer : public Tokenizer {
 public:
  PipelineTokenizer(TokenizerSpec spec, const std::string& what)
      : spec_(std::move(spec)),
        normalizer_(make_normalizer(spec_.normalizer, what)),
        steps_(make_pre_tokenizer(spec_.pre_tokenizer, what)),
        decoder_(make_token_decoder(spec_.decoder, what)) {
    read_post_processor(spec_.post_processor, what);  // refuses what it cannot read
    collect_tokens(what);
    // A byte-level model takes the bytes themselves; spelled out they are for models that look at
    // characters.
    const TokenModelSpec& m = spec_.model;
    const bool raw_bytes = steps_.ends_in_bytes && m.kind == TokenModelKind::bpe &&
                           m.continuing_subword_prefix.empty() && m.end_of_word_suffix.empty() &&
                           !m.byte_fallback;
    if (raw_bytes) steps_.steps.pop_back();
    if (raw_bytes && steps_.steps.size() == 1) scan_ = steps_.steps[0]->scanner();
    model_ = make_token_model(m, {}, raw_bytes, what);
    // The text of a special token may also be a word that the model knows.
    if (text_gives_special_token()) guarded_model_ = make_token_model(m, special_, raw_bytes, what);
    collect_bytes();
  }

  std::string kind() const override { return std::string(name_of(spec_.model.kind)); }
  int64_t vocab_size() const override { return std::ssize(texts_); }
  std::optional<TokenId> eos_id() const override { return spec_.eos_id; }
  std::optional<TokenId> bos_id() const override { return spec_.bos_id; }
  bool is_special(TokenId id) const override {
    return id >= 0 && id < vocab_size() && special_[static_cast<size_t>(id)];
  }
  const TokenizerSpec* spec() const override { return &spec_; }
  bool cuts_at_lines() const override {
    // Normal forms look across a cut no more than scanners do: a letter or a digit starts anew.
    const bool known = scan_ && (spec_.normalizer.is_null() || is_type(spec_.normalizer, "NFC"));
    return known && std::all_of(spec_.added_tokens.begin(), spec_.added_tokens.end(),
                                [](const AddedToken& t) {
                                  return !t.lstrip && !t.single_word &&
                                         t.content.find('\n') == std::string::npos;
                                });
  }

  std::vector<TokenId> encode(std::string_view text, SpecialTokens specials) const override {
    return encode_parts(text, specials, specials, {});
  }

  std::vector<TokenId> encode_marked(std::string_view text, std::string_view marks) const override {
    // What is not found as a marker is text, whoever wrote it.
    return encode_parts(text, SpecialTokens::parse, SpecialTokens::as_text, marks);
  }

  std::string_view token_bytes(TokenId id) const override {
    MOE_CHECK(id >= 0 && id < vocab_size(), "[tokenizer] id ", id,
              " is not one of the tokenizer's 0 .. ", vocab_size() - 1);
    return bytes_[static_cast<size_t>(id)];
  }

  std::string decode(std::span<const TokenId> ids) const override {
    if (spelling_ == Spelling::bytes || spelling_ == Spelling::metaspace) {
      std::string out = Tokenizer::decode(ids);
      if (drops_first_space_ && starts_with(out, " ")) out.erase(0, 1);
      return out;
    }
    std::vector<std::string> tokens;
    for (const TokenId id : ids) {
      token_bytes(id);  // throws on a bad id
      const std::string& text = texts_[static_cast<size_t>(id)];
      if (!is_special(id) && !text.empty()) tokens.push_back(text);
    }
    if (!decoder_) return join(tokens, " ");
    decoder_->apply(tokens);
    std::string out;
    for (const std::string& token : tokens) out += token;
    return out;
  }

 private:
  /// markers: whether special tokens are found in the text as it stands; between: what the rest may
  /// give.
  std::vector<TokenId> encode_parts(std::string_view text, SpecialTokens markers,
                                    SpecialTokens between, std::string_view marks) const {
    std::vector<TokenId> out;
    out.reserve(text.size() / 3 + 8);
    const auto plain = [&](std::string_view part, size_t begin) {
      encode_part(part, begin == 0, between, out);
    };
    if (raw_tokens_->empty()) {
      if (!text.empty()) plain(text, 0);
      return out;
    }
    raw_tokens_->split(
        text, markers, plain, [&](TokenId id) { out.push_back(id); }, marks);
    return out;
  }

  bool text_gives_special_token() const {
    const TokenModelSpec& m = spec_.model;
    std::vector<bool> given(texts_.size());
    for (size_t id = 0; id < m.vocab.size(); ++id)
      given[id] =
          !m.vocab[id].empty() && (m.kind != TokenModelKind::bpe || m.ignore_merges ||
                                   code_point_at(m.vocab[id], 0).size == m.vocab[id].size());
    for (const TokenModelSpec::Merge& merge : m.merges)
      given[static_cast<size_t>(merge.result)] = true;
    for (size_t id = 0; id < texts_.size(); ++id)
      if (given[id] && special_[id]) return true;
    return false;
  }

  void collect_tokens(const std::string& what) {
    texts_ = spec_.model.vocab;
    texts_.resize(static_cast<size_t>(spec_.vocab_size()));
    special_.resize(texts_.size());
    std::vector<AddedToken> raw, normalized;
    std::vector<std::string> raw_texts, normalized_texts;
    std::vector<bool> found_by_model(texts_.size());
    for (const TokenId id : spec_.model.user_defined)
      found_by_model[static_cast<size_t>(id)] = true;
    for (const AddedToken& token : spec_.added_tokens) {
      std::string& text = texts_[static_cast<size_t>(token.id)];
      MOE_CHECK(text.empty() || text == token.content, what, ": the tokens '", printable(text, 40),
                "' and '", printable(token.content, 40), "' have the same id ", token.id);
      text = token.content;
      if (token.special) special_[static_cast<size_t>(token.id)] = true;
      if (found_by_model[static_cast<size_t>(token.id)]) continue;
      if (!token.normalized) {
        raw.push_back(token);
        raw_texts.push_back(token.content);
      } else {
        std::string content = token.content;
        if (normalizer_) normalizer_->apply(content);
        normalized.push_back(token);
        normalized_texts.push_back(std::move(content));
      }
    }
    raw_tokens_ = std::make_unique<AddedTokenFinder>(std::move(raw), raw_texts);
    normalized_tokens_ =
        std::make_unique<AddedTokenFinder>(std::move(normalized), normalized_texts);
  }

  void collect_bytes() {
    spelling_ = spelling_of(spec_.decoder, drops_first_space_);
    std::vector<const JsonObject*> steps;
    collect_steps(spec_.decoder, steps);
    bool has_metaspace = false, has_bytes = false;
    for (const JsonObject* step : steps) {
      has_bytes = has_bytes || equals(*step, "type", "ByteFallback");
      has_metaspace = has_metaspace || equals(*step, "type", "Metaspace") ||
                      (equals(*step, "type", "Replace") && equals(*step, "content", " ") &&
                       equals(*step, "pattern", JsonObject{{"String", kMetaspace}}));
    }
    const std::string prefix =
        is_type(spec_.decoder, "WordPiece") ? spec_.model.continuing_subword_prefix : std::string();
    bytes_.reserve(texts_.size());
    for (const std::string& text : texts_) {
      std::string bytes = text;
      const int byte = has_bytes ? byte_of_fallback_token(text) : -1;
      if (byte >= 0) {
        bytes = std::string(1, static_cast<char>(byte));
      } else if (has_metaspace) {
        bytes = with_spaces(text);
      } else if (spelling_ == Spelling::bytes) {
        if (auto spelled = bytes_of_spelling(text)) bytes = std::move(*spelled);
      } else if (!prefix.empty()) {
        bytes = starts_with(text, prefix) ? text.substr(prefix.size()) : " " + text;
      }
      bytes_.push_back(std::move(bytes));
    }
    for (size_t id = 0; id < texts_.size(); ++id)
      if (special_[id]) bytes_[id] = texts_[id];
  }

  /// Text between added tokens that are looked for as they stand. at_start: of the whole text.
  void encode_part(std::string_view part, bool at_start, SpecialTokens specials,
                   std::vector<TokenId>& out) const {
    std::string normalized;
    if (normalizer_) {
      normalized = part;
      normalizer_->apply(normalized);
      part = normalized;
    }
    if (normalized_tokens_->empty()) {
      encode_pieces(part, at_start, specials, out);
      return;
    }
    normalized_tokens_->split(
        part, specials,
        [&](std::string_view text, size_t begin) {
          encode_pieces(text, at_start && begin == 0, specials, out);
        },
        [&](TokenId id) { out.push_back(id); });
  }

  void encode_pieces(std::string_view text, bool at_start, SpecialTokens specials,
                     std::vector<TokenId>& out) const {
    if (text.empty()) return;
    const bool guarded = guarded_model_ && specials == SpecialTokens::as_text;
    const TokenModel& model = guarded ? *guarded_model_ : *model_;
    if (scan_) {
      for (size_t begin = 0; begin < text.size();) {
        const size_t end = scan_(text, begin);
        model.encode(text.substr(begin, end - begin), out);
        begin = end;
      }
      return;
    }
    Pieces pieces;
    pieces.list = {text};
    pieces.at_text_start = at_start;
    steps_.split(pieces);
    for (const std::string_view piece : pieces.list) model.encode(piece, out);
  }

  TokenizerSpec spec_;
  std::unique_ptr<Normalizer> normalizer_;
  PreTokenizerSteps steps_;
  std::unique_ptr<TokenDecoder> decoder_;
  PieceScanner scan_ = nullptr;  // does all the cutting
  std::unique_ptr<TokenModel> model_;
  std::unique_ptr<TokenModel> guarded_model_;  // gives no special token, where model_ may
  std::unique_ptr<AddedTokenFinder> raw_tokens_, normalized_tokens_;
  std::vector<std::string> texts_, bytes_;  // by id: as the file spells it; within a text
  std::vector<bool> special_;               // by id
  Spelling spelling_ = Spelling::chain;
  bool drops_first_space_ = false;
};

}  // namespace

int64_t TokenizerSpec::vocab_size() const {
  int64_t size = std::ssize(model.vocab);
  for (const AddedToken& token : added_tokens) size = std::max<int64_t>(size, token.id + 1);
  return size;
}

std::unique_ptr<Tokenizer> make_tokenizer(TokenizerSpec spec, const std::string& what) {
  return std::make_unique<PipelineTokenizer>(std::move(spec), what);
}

namespace {

std::vector<TokenId> ids_of_special(const JsonReader& r, const std::string& name) {
  const Json& map = r.at("special_tokens");
  MOE_CHECK(map.is_object(), r.what(), ": 'special_tokens' is no object");
  const Json* entry = map.as_object().if_contains(name);
  MOE_CHECK(entry && entry->is_object(), r.what(), ": special token '", printable(name, 40),
            "' of the template is not in 'special_tokens'");
  const Json& ids = JsonReader(entry->as_object(), r.what()).at("ids");
  MOE_CHECK(ids.is_array(), r.what(), ": 'ids' is no list");
  std::vector<TokenId> out;
  for (const Json& id : ids.as_array()) {
    MOE_CHECK(id.is_int64() && id.as_int64() >= 0 && id.as_int64() < (int64_t{1} << 31), r.what(),
              ": '", printable(name, 40), "' has an id that is none");
    out.push_back(static_cast<TokenId>(id.as_int64()));
  }
  return out;
}

TokenId id_of_pair(const JsonReader& r, const char* key) {
  const Json& pair = r.at(key);
  MOE_CHECK(pair.is_array() && pair.as_array().size() == 2 && pair.as_array()[1].is_int64() &&
                pair.as_array()[1].as_int64() >= 0 &&
                pair.as_array()[1].as_int64() < (int64_t{1} << 31),
            r.what(), ": '", key, "' is not [token, id]");
  return static_cast<TokenId>(pair.as_array()[1].as_int64());
}

}  // namespace

SpecialFrame read_post_processor(const Json& json, const std::string& source) {
  SpecialFrame out;
  if (json.is_null()) return out;
  MOE_CHECK(json.is_object(), source, ": the post-processor is no object");
  const std::string what = source + ": post-processor";
  const JsonReader r(json.as_object(), what);
  const std::string type = r.string("type");
  if (type == "ByteLevel") return out;  // moves offsets only
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    out.before = {id_of_pair(r, "cls")};
    out.after = {id_of_pair(r, "sep")};
  } else if (type == "TemplateProcessing") {
    const Json& single = r.at("single");
    MOE_CHECK(single.is_array(), what, ": 'single' is no list");
    bool seen = false;
    for (const Json& item : single.as_array()) {
      MOE_CHECK(item.is_object() && item.as_object().size() == 1, what,
                ": an item of 'single' is no object with one key");
      const auto& [key, value] = *item.as_object().begin();
      if (std::string_view(key) == "Sequence") {
        seen = true;
        continue;
      }
      MOE_CHECK(std::string_view(key) == "SpecialToken" && value.is_object(), what,
                ": an item of 'single' is neither Sequence nor SpecialToken");
      std::vector<TokenId>& side = seen ? out.after : out.before;
      for (const TokenId id : ids_of_special(r, JsonReader(value.as_object(), what).string("id")))
        side.push_back(id);
    }
  } else if (type == "Sequence") {
    const Json& parts = r.at("processors");
    MOE_CHECK(parts.is_array(), what, ": 'processors' is no list");
    for (const Json& part : parts.as_array()) {
      SpecialFrame inner = read_post_processor(part, source);
      inner.before.insert(inner.before.end(), out.before.begin(), out.before.end());
      out.before = std::move(inner.before);
      out.after.insert(out.after.end(), inner.after.begin(), inner.after.end());
    }
  } else {
    throw Error(str(source, ": a post-processor of type '", printable(type, 40),
                    "', which this program does not know; it knows TemplateProcessing, "
                    "BertProcessing, RobertaProcessing, ByteLevel and Sequence"));
  }
  return out;
}

}  // namespace moe
