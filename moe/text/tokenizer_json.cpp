// SPDX-License-Identifier: MIT
#include "moe/text/tokenizer_json.h"

#include <algorithm>

#include "moe/base/error.h"
#include "moe/text/byte_alphabet.h"
#include "moe/text/unicode.h"
#include "moe/text/vocabulary.h"

namespace moe {
namespace {

JsonObject document(JsonArray added_tokens, Json normalizer, Json pre_tokenizer,
                    Json post_processor, Json decoder, Json model) {
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", std::move(added_tokens)},
          {"normalizer", std::move(normalizer)},
          {"pre_tokenizer", std::move(pre_tokenizer)},
          {"post_processor", std::move(post_processor)},
          {"decoder", std::move(decoder)},
          {"model", std::move(model)}};
}

// ---- the two of ours --------------------------------------------------------------------------

TokenizerSpec byte_spec() {
  TokenizerSpec spec;
  // Ids are byte values, so the spellings come in the order of the bytes.
  for (int b = 0; b < 256; ++b)
    spec.model.vocab.push_back(spell_bytes(std::string(1, static_cast<char>(b))));
  spec.added_tokens = {{.id = 256, .content = std::string(kEndOfText), .special = true}};
  // Only add_prefix_space and use_regex of the pre-tokenizer act; the decoder's flags are what the
  // library writes.
  spec.pre_tokenizer = JsonObject{{"type", "ByteLevel"},
                                  {"add_prefix_space", false},
                                  {"trim_offsets", true},
                                  {"use_regex", false}};
  spec.decoder = JsonObject{{"type", "ByteLevel"},
                            {"add_prefix_space", true},
                            {"trim_offsets", true},
                            {"use_regex", true}};
  return spec;
}

TokenizerSpec char_spec(std::vector<std::string> vocab) {
  TokenizerSpec spec;
  spec.model.kind = TokenModelKind::word_level;
  spec.model.vocab = std::move(vocab);
  // "[\s\S]" and not ".", which leaves out the newline.
  spec.pre_tokenizer = JsonObject{{"type", "Split"},
                                  {"pattern", JsonObject{{"Regex", "[\\s\\S]"}}},
                                  {"behavior", "Isolated"},
                                  {"invert", false}};
  spec.decoder = JsonObject{{"type", "Fuse"}};
  return spec;
}

std::vector<std::string> texts_of(const Tokenizer& tokenizer) {
  std::vector<std::string> out;
  for (int64_t id = 0; id < tokenizer.vocab_size(); ++id)
    out.emplace_back(tokenizer.token_bytes(static_cast<TokenId>(id)));
  return out;
}

// ---- writing
// --------------------------------------------------------------------------------------

JsonObject vocab_to_json(const TokenModelSpec& m) {
  JsonObject out;
  out.reserve(m.vocab.size());
  for (size_t id = 0; id < m.vocab.size(); ++id)
    if (!m.vocab[id].empty()) out[m.vocab[id]] = id;
  return out;
}

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

JsonObject model_to_json(const TokenModelSpec& m) {
  const Json unk = m.unk_id ? Json(m.vocab[static_cast<size_t>(*m.unk_id)]) : Json(nullptr);
  JsonObject out{{"type", name_of(m.kind)}};
  // Ours, which the library passes over: it has no such rules.
  if (!m.unused.empty()) out["unused"] = JsonArray(m.unused.begin(), m.unused.end());
  if (!m.user_defined.empty())
    out["user_defined"] = JsonArray(m.user_defined.begin(), m.user_defined.end());
  if (!m.ranks.empty()) out["ranks"] = JsonArray(m.ranks.begin(), m.ranks.end());
  if (m.single_precision) out["single_precision"] = true;
  switch (m.kind) {
    case TokenModelKind::bpe: {
      JsonArray merges;
      merges.reserve(m.merges.size());
      for (const auto& [left, right, result] : m.merges)
        merges.push_back(JsonArray{Json(m.vocab[static_cast<size_t>(left)]),
                                   Json(m.vocab[static_cast<size_t>(right)])});
      out["dropout"] = nullptr;
      out["unk_token"] = unk;
      out["continuing_subword_prefix"] = text_or_null(m.continuing_subword_prefix);
      out["end_of_word_suffix"] = text_or_null(m.end_of_word_suffix);
      out["fuse_unk"] = m.fuse_unk;
      out["byte_fallback"] = m.byte_fallback;
      out["ignore_merges"] = m.ignore_merges;
      out["vocab"] = vocab_to_json(m);
      out["merges"] = std::move(merges);
      break;
    }
    case TokenModelKind::word_piece:
      out["unk_token"] = unk;
      out["continuing_subword_prefix"] = m.continuing_subword_prefix;
      out["max_input_chars_per_word"] = m.max_input_chars_per_word;
      out["vocab"] = vocab_to_json(m);
      break;
    case TokenModelKind::unigram: {
      JsonArray vocab;
      vocab.reserve(m.vocab.size());
      for (size_t id = 0; id < m.vocab.size(); ++id)
        vocab.push_back(JsonArray{Json(m.vocab[id]), Json(m.scores[id])});
      out["unk_id"] = m.unk_id ? Json(*m.unk_id) : Json(nullptr);
      out["vocab"] = std::move(vocab);
      out["byte_fallback"] = m.byte_fallback;
      break;
    }
    case TokenModelKind::word_level:
      // "<unk>" where there is none: the library wants a name, and a name that is not in the
      // vocabulary makes it refuse an unknown character, as we do.
      out["vocab"] = vocab_to_json(m);
      out["unk_token"] = m.unk_id ? unk : Json("<unk>");
      break;
  }
  return out;
}

std::string spec_to_json(const TokenizerSpec& spec) {
  JsonArray added;
  for (const AddedToken& t : spec.added_tokens)
    added.push_back(JsonObject{{"id", t.id},
                               {"content", t.content},
                               {"single_word", t.single_word},
                               {"lstrip", t.lstrip},
                               {"rstrip", t.rstrip},
                               {"normalized", t.normalized},
                               {"special", t.special}});
  return to_json_pretty(document(std::move(added), spec.normalizer, spec.pre_tokenizer,
                                 spec.post_processor, spec.decoder, model_to_json(spec.model)));
}

// ---- reading
// --------------------------------------------------------------------------------------

const JsonObject& object_field(const JsonReader& r, std::string_view key) {
  const Json& value = r.at(key);
  MOE_CHECK(value.is_object(), r.what(), ": '", key, "' is no object");
  return value.as_object();
}

const JsonArray& array_field(const JsonReader& r, std::string_view key) {
  const Json& value = r.at(key);
  MOE_CHECK(value.is_array(), r.what(), ": '", key, "' is no list");
  return value.as_array();
}

/// Texts by id from {"text": id}.
std::vector<std::string> read_vocab(const JsonObject& vocab, const std::string& what) {
  const int64_t limit = std::ssize(vocab) + kMaxIdHoles;
  std::vector<std::string> out;
  for (const auto& [key, value] : vocab) {
    const std::string_view text = key;
    MOE_CHECK(value.is_int64(), what, ": the vocabulary's entry '", printable(text, 40),
              "' has no whole number as its id");
    const int64_t id = value.as_int64();
    MOE_CHECK(id >= 0 && id < limit, what, ": the vocabulary's entry '", printable(text, 40),
              "' has id ", id, ", but there are only ", vocab.size(), " entries");
    if (static_cast<size_t>(id) >= out.size()) out.resize(static_cast<size_t>(id) + 1);
    std::string& slot = out[static_cast<size_t>(id)];
    MOE_CHECK(slot.empty(), what, ": the vocabulary's entries '", printable(slot, 40), "' and '",
              printable(text, 40), "' have the same id ", id);
    slot = text;
  }
  return out;
}

void read_merges(const JsonArray& merges, TokenModelSpec& m, const std::string& what) {
  StringIds ids(m.vocab.size());
  for (size_t id = 0; id < m.vocab.size(); ++id)
    if (!m.vocab[id].empty()) ids.add(m.vocab[id], static_cast<TokenId>(id));
  m.merges.reserve(merges.size());
  for (size_t i = 0; i < merges.size(); ++i) {
    const Json& entry = merges[i];
    std::string_view left, right;
    if (const auto* text = entry.if_string()) {
      const std::string_view line = *text;
      if (i == 0 && starts_with(line, "#version")) continue;
      const size_t space = line.find(' ');
      MOE_CHECK(space != std::string_view::npos && space + 1 < line.size() && space > 0 &&
                    line.find(' ', space + 1) == std::string_view::npos,
                what, ": merge ", i + 1, " '", printable(line, 40), "' is not two tokens");
      left = line.substr(0, space);
      right = line.substr(space + 1);
    } else {
      const JsonArray* pair = entry.if_array();
      MOE_CHECK(pair && pair->size() == 2 && (*pair)[0].is_string() && (*pair)[1].is_string(), what,
                ": merge ", i + 1, " is not two tokens");
      left = (*pair)[0].as_string();
      right = (*pair)[1].as_string();
    }
    std::string_view tail = right;
    const std::string& prefix = m.continuing_subword_prefix;
    if (!prefix.empty() && starts_with(tail, prefix)) tail.remove_prefix(prefix.size());
    const TokenModelSpec::Merge merge{ids.find(left), ids.find(right), ids.find(str(left, tail))};
    for (const auto& [id, text] : {std::pair{merge.left, std::string(left)},
                                   {merge.right, std::string(right)},
                                   {merge.result, str(left, tail)}})
      MOE_CHECK(id >= 0, what, ": merge ", i + 1, " '", printable(left, 40), " ",
                printable(right, 40), "' needs the token '", printable(text, 40),
                "', which is not in the vocabulary");
    m.merges.push_back(merge);
  }
}

TokenModelKind kind_of(const JsonObject& model, const std::string& what) {
  const Json* type = model.if_contains("type");
  if (!type || type->is_null()) {  // old files leave it out
    if (model.contains("merges")) return TokenModelKind::bpe;
    const Json* vocab = model.if_contains("vocab");
    if (vocab && vocab->is_array()) return TokenModelKind::unigram;
    return model.contains("continuing_subword_prefix") ? TokenModelKind::word_piece
                                                       : TokenModelKind::word_level;
  }
  for (const TokenModelKind kind : {TokenModelKind::bpe, TokenModelKind::word_piece,
                                    TokenModelKind::unigram, TokenModelKind::word_level})
    if (*type == Json(name_of(kind))) return kind;
  throw Error(str(what, ": a model of type '",
                  printable(type->is_string() ? std::string_view(type->as_string()) : "?", 40),
                  "', which this program does not know; it knows BPE, WordPiece, Unigram and "
                  "WordLevel"));
}

void read_unigram_vocab(const JsonArray& vocab, TokenModelSpec& m, const std::string& what) {
  StringIds seen(vocab.size());
  for (size_t i = 0; i < vocab.size(); ++i) {
    const JsonArray* entry = vocab[i].if_array();
    MOE_CHECK(entry && entry->size() == 2 && (*entry)[0].is_string() && (*entry)[1].is_number(),
              what, ": piece ", i, " of the vocabulary is not [text, score]");
    m.vocab.emplace_back((*entry)[0].as_string());
    m.scores.push_back((*entry)[1].to_number<double>());
    MOE_CHECK(!m.vocab.back().empty(), what, ": piece ", i, " of the vocabulary is empty");
    MOE_CHECK(seen.add(m.vocab.back(), static_cast<TokenId>(i)), what, ": the piece '",
              printable(m.vocab.back(), 40), "' comes twice");
  }
}

std::vector<TokenId> read_ids(const JsonReader& r, const char* key, const TokenModelSpec& m) {
  std::vector<TokenId> out;
  if (!r.has(key)) return out;
  for (const Json& id : array_field(r, key)) {
    MOE_CHECK(id.is_int64() && id.as_int64() >= 0 && id.as_int64() < std::ssize(m.vocab) &&
                  !m.vocab[static_cast<size_t>(id.as_int64())].empty(),
              r.what(), ": '", key, "' holds what is not an id of the vocabulary");
    out.push_back(static_cast<TokenId>(id.as_int64()));
  }
  return out;
}

/// What tokenizer.json files of ours hold for the rules of SentencePiece.
void read_sentencepiece_rules(const JsonReader& r, TokenModelSpec& m) {
  m.unused = read_ids(r, "unused", m);
  m.user_defined = read_ids(r, "user_defined", m);
  m.single_precision = r.boolean_or("single_precision", false);
  if (!r.has("ranks")) return;
  for (const Json& rank : array_field(r, "ranks")) {
    MOE_CHECK(rank.is_int64() && rank.as_int64() >= 0 && rank.as_int64() < std::ssize(m.merges),
              r.what(), ": 'ranks' holds what is not the rank of a merge");
    m.ranks.push_back(static_cast<uint32_t>(rank.as_int64()));
  }
  MOE_CHECK(m.ranks.size() == m.merges.size(), r.what(), ": ", m.ranks.size(), " ranks for ",
            m.merges.size(), " merges");
}

TokenModelSpec read_model(const JsonObject& model, const std::string& what) {
  TokenModelSpec m;
  m.kind = kind_of(model, what);
  const JsonReader r(model, what + ": model");
  if (m.kind == TokenModelKind::unigram) {
    read_unigram_vocab(array_field(r, "vocab"), m, what);
    m.byte_fallback = r.boolean_or("byte_fallback", false);
    if (r.has("unk_id")) {
      const int64_t unk = r.integer("unk_id");
      MOE_CHECK(unk >= 0 && unk < std::ssize(m.vocab), what, ": unk_id is ", unk,
                ", but there are ", m.vocab.size(), " pieces");
      m.unk_id = static_cast<TokenId>(unk);
    }
    read_sentencepiece_rules(r, m);
    MOE_CHECK(!m.vocab.empty(), what, ": the vocabulary is empty");
    return m;
  }
  m.vocab = read_vocab(object_field(r, "vocab"), what);
  if (m.kind == TokenModelKind::bpe || m.kind == TokenModelKind::word_piece)
    m.continuing_subword_prefix =
        r.string_or("continuing_subword_prefix", m.kind == TokenModelKind::word_piece ? "##" : "");
  if (m.kind == TokenModelKind::bpe) {
    MOE_CHECK(!r.has("dropout") || r.number("dropout") == 0, what,
              ": BPE with dropout gives other ids at each run; set model.dropout to null");
    m.end_of_word_suffix = r.string_or("end_of_word_suffix", "");
    m.fuse_unk = r.boolean_or("fuse_unk", false);
    m.byte_fallback = r.boolean_or("byte_fallback", false);
    m.ignore_merges = r.boolean_or("ignore_merges", false);
    read_merges(array_field(r, "merges"), m, what);
    read_sentencepiece_rules(r, m);
  }
  if (m.kind == TokenModelKind::word_piece) {
    m.max_input_chars_per_word = r.integer_or("max_input_chars_per_word", 100);
    MOE_CHECK(m.max_input_chars_per_word > 0, what, ": max_input_chars_per_word is ",
              m.max_input_chars_per_word, ", must be positive");
  }
  const std::string unk = r.string_or("unk_token", "");
  const auto found = std::find(m.vocab.begin(), m.vocab.end(), unk);
  if (!unk.empty() && found != m.vocab.end())
    m.unk_id = static_cast<TokenId>(found - m.vocab.begin());
  const bool may_lack = m.kind == TokenModelKind::word_level || unk.empty();
  MOE_CHECK(m.unk_id || may_lack, what, ": the unknown token '", printable(unk, 40),
            "' is not in the vocabulary");
  return m;
}

void read_added_tokens(const JsonArray& list, TokenizerSpec& spec, const std::string& what) {
  const int64_t limit = std::ssize(spec.model.vocab) + std::ssize(list) + kMaxIdHoles;
  StringIds vocab(spec.model.vocab.size());
  for (size_t id = 0; id < spec.model.vocab.size(); ++id)
    if (!spec.model.vocab[id].empty()) vocab.add(spec.model.vocab[id], static_cast<TokenId>(id));
  for (const Json& entry : list) {
    MOE_CHECK(entry.is_object(), what, ": an entry of 'added_tokens' is no object");
    const JsonReader r(entry.as_object(), what + ": added_tokens");
    AddedToken token{.content = r.string("content"),
                     .single_word = r.boolean_or("single_word", false),
                     .lstrip = r.boolean_or("lstrip", false),
                     .rstrip = r.boolean_or("rstrip", false),
                     .special = r.boolean_or("special", false)};
    token.normalized = r.boolean_or("normalized", !token.special);
    if (token.content.empty()) continue;
    const int64_t id = r.integer("id");
    MOE_CHECK(id >= 0 && id < limit, what, ": the added token '", printable(token.content, 40),
              "' has id ", id, ", but the vocabulary has ", spec.model.vocab.size(), " tokens");
    const TokenId known = vocab.find(token.content);  // the library then uses that id
    token.id = known >= 0 ? known : static_cast<TokenId>(id);
    spec.added_tokens.push_back(std::move(token));
  }
}

bool same_parts(const TokenizerSpec& a, const TokenizerSpec& b) {
  return a.normalizer == b.normalizer && a.pre_tokenizer == b.pre_tokenizer &&
         a.post_processor == b.post_processor && a.decoder == b.decoder;
}

bool is_byte(const TokenizerSpec& spec) {
  const TokenizerSpec ours = byte_spec();
  return spec.model.kind == TokenModelKind::bpe && spec.model.merges.empty() &&
         !spec.model.unk_id && !spec.model.byte_fallback && spec.model.vocab == ours.model.vocab &&
         spec.model.continuing_subword_prefix.empty() && spec.model.end_of_word_suffix.empty() &&
         spec.added_tokens.size() == 1 && spec.added_tokens[0].id == 256 &&
         spec.added_tokens[0].content == kEndOfText && spec.added_tokens[0].special &&
         !spec.added_tokens[0].normalized && !spec.added_tokens[0].lstrip &&
         !spec.added_tokens[0].rstrip && !spec.added_tokens[0].single_word &&
         same_parts(spec, ours);
}

/// The code points of a char tokenizer; empty when it is none.
std::vector<char32_t> char_vocab(const TokenizerSpec& spec) {
  std::vector<char32_t> out;
  if (spec.model.kind != TokenModelKind::word_level || spec.model.unk_id ||
      !spec.added_tokens.empty() || !same_parts(spec, char_spec({})))
    return out;
  for (const std::string& text : spec.model.vocab) {
    if (text.empty()) return {};
    const CodePoint c = code_point_at(text, 0);
    if (c.value == kInvalidByte || c.size != text.size()) return {};
    out.push_back(c.value);
  }
  return out;
}

}  // namespace

std::string tokenizer_to_json(const Tokenizer& tokenizer) {
  if (const TokenizerSpec* spec = tokenizer.spec()) return spec_to_json(*spec);
  return spec_to_json(tokenizer.kind() == "byte" ? byte_spec() : char_spec(texts_of(tokenizer)));
}

TokenizerSpec tokenizer_spec_from_json(const Json& json, const std::string& what) {
  MOE_CHECK(json.is_object(), what, ": not a JSON object");
  const JsonObject& root = json.as_object();
  MOE_CHECK(root.contains("model"), what, ": it has no 'model'; this is no tokenizer.json");
  const JsonReader r(root, what);
  MOE_CHECK(!r.has("version") || r.string("version") == "1.0", what, ": version '",
            printable(r.string_or("version", ""), 20), "', this program reads 1.0");
  TokenizerSpec spec;
  spec.model = read_model(object_field(r, "model"), what);
  if (r.has("added_tokens")) read_added_tokens(array_field(r, "added_tokens"), spec, what);
  const auto part = [&](const char* key) { return r.has(key) ? r.at(key) : Json(nullptr); };
  spec.normalizer = part("normalizer");
  spec.pre_tokenizer = part("pre_tokenizer");
  spec.post_processor = part("post_processor");
  spec.decoder = part("decoder");
  return spec;
}

std::unique_ptr<Tokenizer> tokenizer_from_spec(TokenizerSpec spec, const std::string& what) {
  if (is_byte(spec)) return make_byte_tokenizer();
  if (const std::vector<char32_t> code_points = char_vocab(spec); !code_points.empty())
    return make_char_tokenizer(code_points);
  return make_tokenizer(std::move(spec), what);
}

std::unique_ptr<Tokenizer> tokenizer_from_json(std::string_view text, const std::string& what) {
  // A merge of two short tokens takes about 9 times its text.
  return tokenizer_from_spec(tokenizer_spec_from_json(parse_json(text, what, 16), what), what);
}

}  // namespace moe
