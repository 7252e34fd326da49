// SPDX-License-Identifier: MIT
#include "moe/text/trainers/tokenizer_trainer.h"

#include <algorithm>
#include <map>

#include "moe/base/error.h"
#include "moe/base/fs.h"
#include "moe/base/mmap_file.h"
#include "moe/base/utf8.h"
#include "moe/text/byte_alphabet.h"
#include "moe/text/piece_scanner.h"
#include "moe/text/tokenizer_files.h"
#include "moe/text/trainers/unigram_trainer.h"
#include "moe/text/trainers/word_counts.h"

namespace moe {
namespace {

const std::string kWhat = "[tokenizer train]";

struct Counted {
  std::vector<WordCount> words;
  uint64_t bytes = 0;
};

Counted count_words(const TokenizerTraining& t, const TokenizerSpec& spec, TextUnit unit,
                    bool raw_bytes) {
  uint64_t all = 0;
  for (const std::string& file : t.files) all += file_size(file);
  MOE_CHECK(all > 0, kWhat, ": ", t.files.empty() ? "no files" : "the files are empty",
            "; give text to learn from");
  CountOptions options{.normalizer = spec.normalizer,
                       .pre_tokenizer = spec.pre_tokenizer,
                       .unit = unit,
                       .raw_bytes = raw_bytes,
                       .cut_out = t.special_tokens};
  if (t.progress)
    options.progress = [&](uint64_t bytes) { t.progress("reading", double(bytes), double(all)); };
  WordCounter counter(options);
  for (const std::string& file : t.files) counter.add_file(file);
  Counted out{counter.take(), counter.bytes()};
  MOE_CHECK(!out.words.empty(), kWhat, ": the files hold nothing to learn from");
  return out;
}

std::vector<AddedToken> special_tokens(const TokenizerTraining& t, int64_t first) {
  std::vector<AddedToken> out;
  for (const std::string& text : t.special_tokens)
    out.push_back({.id = static_cast<TokenId>(first++), .content = text, .special = true});
  return out;
}

void set_ends(TokenizerSpec& spec) {
  for (const AddedToken& token : spec.added_tokens) {
    if (token.content == kEndOfText || token.content == "</s>" || token.content == "[SEP]")
      spec.eos_id = token.id;
    if (token.content == "<s>" || token.content == "[CLS]") spec.bos_id = token.id;
    if (token.content == "<pad>" || token.content == "[PAD]") spec.pad_id = token.id;
  }
}

TrainedTokenizer train_byte_level(const TokenizerTraining& t) {
  TokenizerSpec spec;
  spec.pre_tokenizer = byte_level_pre_tokenizer(split_regex(t.pattern));
  spec.decoder = byte_level_decoder();
  const bool hf = t.tie == "hf", first_seen = t.tie == "minbpe" || t.tie == "tiktoken";
  if (!hf && !first_seen && t.tie != "rustbpe") {
    const std::vector<std::string> rules = {"hf", "rustbpe", "minbpe", "tiktoken"};
    const std::string near = nearest_word(t.tie, rules);
    throw Error(str(kWhat, ": --tie ", printable(t.tie, 30), " is not one of ", join(rules, ", "),
                    near.empty() ? "" : str("; did you mean ", near, "?")),
                ExitCode::usage);
  }
  const int64_t n_special = std::ssize(t.special_tokens);
  MOE_CHECK(t.vocab_size >= 256 + n_special, kWhat, ": a vocabulary of ", t.vocab_size,
            " is too small: 256 bytes and ", n_special, " special tokens need ", 256 + n_special);

  Counted counted = count_words(t, spec, t.by_line ? TextUnit::line : TextUnit::file, true);
  BpeTraining bpe;
  std::array<TokenId, 256> id_of_byte{};
  for (int i = 0; i < 256; ++i) {
    const uint8_t byte = hf ? bytes_by_spelling()[static_cast<size_t>(i)] : static_cast<uint8_t>(i);
    id_of_byte[byte] = i;
    bpe.alphabet.push_back(std::string(1, static_cast<char>(byte)));
  }
  TrainedTokenizer out{.bytes = counted.bytes, .n_words = std::ssize(counted.words)};
  bpe.words.reserve(counted.words.size());
  for (WordCount& word : counted.words) {
    BpeTraining::Word& w = bpe.words.emplace_back();
    w.count = word.count;
    w.symbols.reserve(word.text.size());
    for (const char b : word.text) w.symbols.push_back(id_of_byte[static_cast<uint8_t>(b)]);
    std::string().swap(word.text);
  }
  std::vector<WordCount>().swap(counted.words);
  bpe.n_merges = t.vocab_size - 256 - n_special;
  bpe.min_frequency = t.min_frequency;
  bpe.tie = first_seen ? TieRule::first_seen : TieRule::smallest_ids;
  bpe.banned = t.special_tokens;
  const double all = double(bpe.n_merges);
  if (t.progress) bpe.progress = [&](int64_t n) { t.progress("learning", double(n), all); };
  BpeResult learned = train_bpe(std::move(bpe));

  const auto shift = static_cast<TokenId>(hf ? n_special : 0);
  if (hf) spec.model.vocab = t.special_tokens;
  for (const std::string& token : learned.vocab) spec.model.vocab.push_back(spell_bytes(token));
  for (const auto& [left, right, result] : learned.merges)
    spec.model.merges.push_back({left + shift, right + shift, result + shift});
  spec.added_tokens = special_tokens(t, hf ? 0 : std::ssize(spec.model.vocab));
  set_ends(spec);
  out.tokenizer = make_tokenizer(std::move(spec), kWhat);
  return out;
}

TrainedTokenizer train_word_piece(const TokenizerTraining& t) {
  TokenizerSpec spec;
  spec.normalizer = JsonObject{{"type", "BertNormalizer"},
                               {"clean_text", true},
                               {"handle_chinese_chars", true},
                               {"strip_accents", nullptr},
                               {"lowercase", t.lowercase}};
  spec.pre_tokenizer = JsonObject{{"type", "BertPreTokenizer"}};
  spec.decoder = JsonObject{{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  TokenizerTraining with_unk = t;
  std::vector<std::string>& specials = with_unk.special_tokens;
  if (std::find(specials.begin(), specials.end(), "[UNK]") == specials.end())
    specials.insert(specials.begin(), "[UNK]");
  Counted counted = count_words(with_unk, spec, TextUnit::line, false);

  // Single characters, at the begin of a word and within one ("##x"), in the order of code points.
  std::map<char32_t, std::pair<bool, bool>> seen;
  for (const WordCount& word : counted.words)
    for (size_t i = 0; i < word.text.size();) {
      const CodePoint c = code_point_at(word.text, i);
      if (c.value != kInvalidByte) (i == 0 ? seen[c.value].first : seen[c.value].second) = true;
      i += c.size;
    }
  BpeTraining bpe;
  std::map<char32_t, TokenId> begins, continues;
  const auto add = [&](std::map<char32_t, TokenId>& ids, char32_t c, const char* prefix) {
    ids[c] = static_cast<TokenId>(bpe.alphabet.size());
    std::string text = prefix;
    append_utf8(text, c);
    bpe.alphabet.push_back(text);
  };
  for (const auto& [c, where] : seen) add(begins, c, "");
  for (const auto& [c, where] : seen)
    if (where.second) add(continues, c, "##");
  const int64_t n_special = std::ssize(specials), n_alphabet = n_special + std::ssize(bpe.alphabet);
  MOE_CHECK(t.vocab_size >= n_alphabet, kWhat, ": a vocabulary of ", t.vocab_size,
            " is too small: the text's characters and the special tokens need ", n_alphabet);
  for (const WordCount& word : counted.words) {
    BpeTraining::Word w{.symbols = {}, .count = word.count};
    for (size_t i = 0; i < word.text.size();) {
      const CodePoint c = code_point_at(word.text, i);
      if (c.value != kInvalidByte) w.symbols.push_back((i == 0 ? begins : continues).at(c.value));
      i += c.size;
    }
    bpe.words.push_back(std::move(w));
  }
  bpe.n_merges = t.vocab_size - n_alphabet;
  bpe.min_frequency = t.min_frequency;
  bpe.score = t.likelihood ? MergeScore::likelihood : MergeScore::count;
  bpe.banned = specials;
  bpe.join = [](const std::string& left, const std::string& right) {
    return left + (starts_with(right, "##") ? right.substr(2) : right);
  };
  const double all = double(bpe.n_merges);
  if (t.progress) bpe.progress = [&](int64_t n) { t.progress("learning", double(n), all); };
  TrainedTokenizer out{.bytes = counted.bytes, .n_words = std::ssize(counted.words)};
  BpeResult learned = train_bpe(std::move(bpe));
  spec.model.kind = TokenModelKind::word_piece;
  spec.model.continuing_subword_prefix = "##";
  spec.model.vocab = specials;
  for (std::string& token : learned.vocab) {
    // A character '#' may spell what is a continuation: the first of equal texts stays.
    spec.model.vocab.push_back(std::move(token));
  }
  spec.model.unk_id =
      static_cast<TokenId>(std::find(specials.begin(), specials.end(), "[UNK]") - specials.begin());
  spec.added_tokens = special_tokens(with_unk, 0);
  set_ends(spec);
  out.tokenizer = make_tokenizer(std::move(spec), kWhat);
  return out;
}

TrainedTokenizer train_unigram_tokenizer(const TokenizerTraining& t) {
  TokenizerSpec spec;
  // As SentencePiece: NFKC, spaces to U+2581, one at the begin, words begin with it.
  spec.normalizer =
      JsonObject{{"type", "Sequence"},
                 {"normalizers", JsonArray{JsonObject{{"type", "NFKC"}},
                                           JsonObject{{"type", "Replace"},
                                                      {"pattern", JsonObject{{"Regex", " {2,}"}}},
                                                      {"content", " "}}}}};
  const JsonObject metaspace{{"type", "Metaspace"},
                             {"replacement", "\xE2\x96\x81"},
                             {"prepend_scheme", "always"},
                             {"split", true}};
  spec.pre_tokenizer = metaspace;
  spec.decoder =
      t.byte_fallback
          ? Json(JsonObject{
                {"type", "Sequence"},
                {"decoders", JsonArray{JsonObject{{"type", "ByteFallback"}}, metaspace}}})
          : Json(metaspace);
  TokenizerTraining with_unk = t;
  std::vector<std::string>& specials = with_unk.special_tokens;
  if (std::find(specials.begin(), specials.end(), "<unk>") == specials.end())
    specials.insert(specials.begin(), "<unk>");
  Counted counted = count_words(with_unk, spec, TextUnit::line, false);
  const int64_t n_special = std::ssize(specials), n_bytes = t.byte_fallback ? 256 : 0;
  UnigramTraining training;
  // A line end belongs to no piece that holds more than line ends.
  std::map<std::string, uint64_t> cut;
  for (const WordCount& word : counted.words) {
    std::string_view rest = word.text;
    while (!rest.empty()) {
      const size_t ends = std::min(rest.find_first_of("\r\n"), rest.size());
      if (ends > 0) cut[std::string(rest.substr(0, ends))] += word.count;
      rest.remove_prefix(ends);
      const size_t words = std::min(rest.find_first_not_of("\r\n"), rest.size());
      if (words > 0) cut[std::string(rest.substr(0, words))] += word.count;
      rest.remove_prefix(words);
    }
  }
  for (const auto& [text, count] : cut) training.words.push_back({text, count});
  training.n_pieces = t.vocab_size - n_special - n_bytes;
  MOE_CHECK(training.n_pieces > 0, kWhat, ": a vocabulary of ", t.vocab_size,
            " is too small: special tokens and bytes alone need ", n_special + n_bytes + 1);
  const double all = double(t.vocab_size);
  if (t.progress)
    training.progress = [&](int64_t n) {
      t.progress("learning", std::min(1.0, all / double(n)), 1);
    };
  TrainedTokenizer out{.bytes = counted.bytes, .n_words = std::ssize(counted.words)};
  std::vector<UnigramPiece> pieces = train_unigram(training);
  spec.model.kind = TokenModelKind::unigram;
  spec.model.vocab = specials;
  spec.model.scores.assign(specials.size(), 0.0);
  if (t.byte_fallback) {
    double least = 0;
    for (const UnigramPiece& p : pieces) least = std::min(least, p.score);
    constexpr char kHex[] = "0123456789ABCDEF";
    for (size_t b = 0; b < 256; ++b) {
      spec.model.vocab.push_back(str("<0x", kHex[b >> 4], kHex[b & 15], ">"));
      spec.model.scores.push_back(least - 1);
    }
    spec.model.byte_fallback = true;
  }
  for (UnigramPiece& p : pieces) {
    if (std::find(specials.begin(), specials.end(), p.text) != specials.end()) continue;
    spec.model.vocab.push_back(std::move(p.text));
    spec.model.scores.push_back(p.score);
  }
  MOE_CHECK(std::ssize(spec.model.vocab) <= t.vocab_size, kWhat, ": a vocabulary of ", t.vocab_size,
            " is too small: the text's characters, special tokens and bytes need ",
            spec.model.vocab.size());
  spec.model.unk_id =
      static_cast<TokenId>(std::find(specials.begin(), specials.end(), "<unk>") - specials.begin());
  spec.added_tokens = special_tokens(with_unk, 0);
  set_ends(spec);
  out.tokenizer = make_tokenizer(std::move(spec), kWhat);
  return out;
}

TrainedTokenizer train_char(const TokenizerTraining& t) {
  TrainedTokenizer out;
  std::vector<bool> seen(0x110000);
  for (const std::string& path : t.files) {
    const MmapFile file(path);
    const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                                file.bytes().size());
    if (text.empty()) continue;
    try {
      for (const char32_t c : distinct_code_points(text)) seen[c] = true;
    } catch (const Error& error) {
      throw Error(str(kWhat, " ", printable(path), ": ", error.what()));
    }
    out.bytes += text.size();
  }
  std::vector<char32_t> code_points;
  for (char32_t c = 0; c < seen.size(); ++c)
    if (seen[c]) code_points.push_back(c);
  MOE_CHECK(!code_points.empty(), kWhat, ": the files are empty; give text to learn from");
  out.n_words = std::ssize(code_points);
  out.tokenizer = make_char_tokenizer(std::move(code_points));
  return out;
}

}  // namespace

TrainedTokenizer train_tokenizer(const TokenizerTraining& t) {
  for (size_t i = 0; i < t.special_tokens.size(); ++i) {
    MOE_CHECK(!t.special_tokens[i].empty(), kWhat, ": an empty special token");
    MOE_CHECK(
        std::find(t.special_tokens.begin(),
                  t.special_tokens.begin() + static_cast<std::ptrdiff_t>(i),
                  t.special_tokens[i]) == t.special_tokens.begin() + static_cast<std::ptrdiff_t>(i),
        kWhat, ": the special token '", printable(t.special_tokens[i], 40), "' comes twice");
  }
  MOE_CHECK(t.vocab_size > 0 && t.vocab_size <= (int64_t{1} << 24), kWhat, ": a vocabulary of ",
            t.vocab_size, "; from 1 to ", int64_t{1} << 24, " are possible");
  if (t.type == "bpe") return train_byte_level(t);
  if (t.type == "wordpiece") return train_word_piece(t);
  if (t.type == "unigram") return train_unigram_tokenizer(t);
  if (t.type == "char") return train_char(t);
  if (t.type == "byte") return {.tokenizer = make_byte_tokenizer()};
  const std::vector<std::string> types = {"bpe", "wordpiece", "unigram", "char", "byte"};
  const std::string near = nearest_word(t.type, types);
  throw Error(str(kWhat, ": --type ", printable(t.type, 30), " is not one of ", join(types, ", "),
                  near.empty() ? "" : str("; did you mean ", near, "?")),
              ExitCode::usage);
}

}  // namespace moe
