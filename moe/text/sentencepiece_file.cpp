// SPDX-License-Identifier: MIT
// SentencePiece's .model: a protobuf message (sentencepiece_model.proto). Only its wire format is
// needed: a key is field << 3 | type, type 0 a varint, 1 eight bytes, 2 a length and bytes, 5 four
// bytes.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "moe/base/base64.h"
#include "moe/base/error.h"
#include "moe/text/tokenizer_files.h"
#include "moe/text/unicode.h"
#include "moe/text/vocabulary.h"

namespace moe {
namespace {

struct Field {
  uint64_t number = 0, varint = 0;
  std::string_view bytes = {};
  float f32 = 0;
};

/// Calls f for each field of a message; throws where it ends early.
void for_each_field(std::string_view message, const std::string& what,
                    const std::function<void(const Field&)>& f) {
  size_t at = 0;
  const auto need = [&](uint64_t n) {
    MOE_CHECK(n <= message.size() - at, what,
              ": the file ends within a field; it is damaged or no ", "SentencePiece model");
  };
  const auto varint = [&] {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      need(1);
      const auto b = static_cast<uint8_t>(message[at++]);
      value |= uint64_t{b & 0x7Fu} << shift;
      if (b < 0x80) return value;
    }
    throw Error(
        str(what, ": a number of more than 64 bits; it is damaged or no SentencePiece model"));
  };
  while (at < message.size()) {
    const uint64_t key = varint();
    Field field{.number = key >> 3};
    switch (key & 7) {
      case 0: field.varint = varint(); break;
      case 1:
        need(8);
        at += 8;
        break;
      case 2: {
        const uint64_t size = varint();
        need(size);
        field.bytes = message.substr(at, size);
        at += size;
        break;
      }
      case 5:
        need(4);
        std::memcpy(&field.f32, message.data() + at, 4);
        at += 4;
        break;
      default:
        throw Error(str(what, ": a field of wire type ", key & 7,
                        "; it is damaged or no SentencePiece model"));
    }
    f(field);
  }
}

enum PieceType : uint64_t { normal = 1, unknown, control, user_defined, unused, byte };

struct Piece {
  std::string text;
  float score = 0;
  uint64_t type = PieceType::normal;
};

/// Whether pairs may merge into the piece. One that the user defined is found as a whole.
bool is_text(const Piece& p) { return p.type == PieceType::normal || p.type == PieceType::unused; }

struct Model {
  std::vector<Piece> pieces;
  uint64_t model_type = 1, unk_id = 0;
  int64_t bos_id = 1, eos_id = 2, pad_id = -1;
  bool whitespace_as_suffix = false, byte_fallback = false;
  std::string charsmap;
  bool add_dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true;
};

Model parse(std::string_view bytes, const std::string& what) {
  Model m;
  const auto id = [](const Field& f) {
    return static_cast<int64_t>(static_cast<int32_t>(f.varint));
  };
  for_each_field(bytes, what, [&](const Field& f) {
    if (f.number == 1) {
      Piece& p = m.pieces.emplace_back();
      for_each_field(f.bytes, what, [&](const Field& g) {
        if (g.number == 1) p.text = g.bytes;
        if (g.number == 2) p.score = g.f32;
        if (g.number == 3) p.type = g.varint;
      });
    } else if (f.number == 2) {
      for_each_field(f.bytes, what, [&](const Field& g) {
        if (g.number == 3) m.model_type = g.varint;
        if (g.number == 24) m.whitespace_as_suffix = g.varint;
        if (g.number == 35) m.byte_fallback = g.varint;
        if (g.number == 41) m.bos_id = id(g);
        if (g.number == 42) m.eos_id = id(g);
        if (g.number == 43) m.pad_id = id(g);
      });
    } else if (f.number == 3) {
      for_each_field(f.bytes, what, [&](const Field& g) {
        if (g.number == 2) m.charsmap = g.bytes;
        if (g.number == 3) m.add_dummy_prefix = g.varint;
        if (g.number == 4) m.remove_extra_whitespaces = g.varint;
        if (g.number == 5) m.escape_whitespaces = g.varint;
      });
    }
  });
  MOE_CHECK(!m.pieces.empty(), what, ": no pieces; it is no SentencePiece model");
  MOE_CHECK(m.model_type == 1 || m.model_type == 2, what, ": a SentencePiece model of type ",
            m.model_type, "; this program reads Unigram (1) and BPE (2)");
  MOE_CHECK(!m.whitespace_as_suffix, what,
            ": a SentencePiece model with treat_whitespace_as_suffix, which is not supported");
  return m;
}

/// The score rule (highest score of a joined piece first) as a list of pairs: all splits of every
/// piece, by score, then by the lengths of their halves.
void add_merges(const Model& m, TokenModelSpec& spec) {
  StringIds ids(m.pieces.size());
  for (size_t i = 0; i < m.pieces.size(); ++i)
    if (is_text(m.pieces[i])) ids.add(m.pieces[i].text, static_cast<TokenId>(i));
  struct Candidate {
    TokenModelSpec::Merge merge;
    float score;
    int64_t left, right;  // characters
  };
  std::vector<Candidate> all;
  for (size_t i = 0; i < m.pieces.size(); ++i) {
    const Piece& p = m.pieces[i];
    if (!is_text(p)) continue;
    const size_t first = all.size();
    const int64_t n = count_code_points(p.text);
    int64_t left = 0;
    for (size_t cut = 0; cut < p.text.size();) {
      cut += code_point_at(p.text, cut).size;
      ++left;
      const std::string_view text = p.text;
      if (cut >= text.size()) break;
      const TokenId a = ids.find(text.substr(0, cut)), b = ids.find(text.substr(cut));
      if (a >= 0 && b >= 0)
        all.push_back({{a, b, static_cast<TokenId>(i)}, p.score, left, n - left});
    }
    std::sort(
        all.begin() + std::ptrdiff_t(first), all.end(), [](const Candidate& x, const Candidate& y) {
          return std::pair(x.merge.left, x.merge.right) < std::pair(y.merge.left, y.merge.right);
        });
  }
  std::stable_sort(all.begin(), all.end(), [](const Candidate& x, const Candidate& y) {
    return std::tuple(x.score, x.left, x.right) > std::tuple(y.score, y.left, y.right);
  });
  // Ranks matter where two pieces share a score; the pairs of one piece may come in any order.
  bool shared = false;
  std::vector<uint32_t> ranks;
  ranks.reserve(all.size());
  spec.merges.reserve(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    const bool tie = i > 0 && all[i].score == all[i - 1].score;
    shared = shared || (tie && all[i].merge.result != all[i - 1].merge.result);
    ranks.push_back(tie ? ranks.back() : static_cast<uint32_t>(i));
    spec.merges.push_back(all[i].merge);
  }
  if (shared) spec.ranks = std::move(ranks);
}

Json normalizer_of(const Model& m) {
  JsonArray kept;
  for (const Piece& p : m.pieces)
    if (p.type == PieceType::user_defined) kept.push_back(Json(p.text));
  const Json space = JsonObject{{"String", " "}};
  JsonArray steps;
  if (!m.charsmap.empty())
    steps.push_back(JsonObject{{"type", "Precompiled"},
                               {"precompiled_charsmap", encode_base64(m.charsmap)},
                               {"longest", true},
                               {"kept", std::move(kept)}});
  if (m.remove_extra_whitespaces) {
    steps.push_back(JsonObject{{"type", "Replace"},
                               {"pattern", JsonObject{{"Regex", "\\A +|(?<= ) +"}}},
                               {"content", ""}});
  }
  if (m.escape_whitespaces) {
    if (m.add_dummy_prefix)
      steps.push_back(JsonObject{{"type", "Prepend"}, {"prepend", "\xE2\x96\x81"}});
    steps.push_back(
        JsonObject{{"type", "Replace"}, {"pattern", space}, {"content", "\xE2\x96\x81"}});
  } else if (m.add_dummy_prefix) {
    steps.push_back(JsonObject{{"type", "Prepend"}, {"prepend", " "}});
  }
  if (m.remove_extra_whitespaces)  // at the end the written-out space goes too
    steps.push_back(JsonObject{
        {"type", "Replace"},
        {"pattern", JsonObject{{"Regex", m.escape_whitespaces ? "(?<!\xE2\x96\x81)\xE2\x96\x81+\\z"
                                                              : "(?<! ) +\\z"}}},
        {"content", ""}});
  if (steps.empty()) return nullptr;
  return JsonObject{{"type", "Sequence"}, {"normalizers", std::move(steps)}};
}

}  // namespace

TokenizerSpec read_sentencepiece(std::string_view bytes, const std::string& what) {
  const Model m = parse(bytes, what);
  TokenizerSpec spec;
  spec.model.kind = m.model_type == 2 ? TokenModelKind::bpe : TokenModelKind::unigram;
  StringIds seen(m.pieces.size());
  for (size_t i = 0; i < m.pieces.size(); ++i) {
    const Piece& p = m.pieces[i];
    const auto id = static_cast<TokenId>(i);
    MOE_CHECK(!p.text.empty() && first_invalid_utf8(p.text) == std::string::npos, what, ": piece ",
              i, " is empty or not UTF-8");
    MOE_CHECK(std::isfinite(p.score), what, ": the score of piece ", i, " is not a number");
    MOE_CHECK(seen.add(p.text, id), what, ": the piece '", printable(p.text, 40), "' comes twice");
    spec.model.vocab.push_back(p.text);
    // The spelling of a byte or a marker is no piece of text; in BPE no pair merges into one
    // anyway.
    const bool others = spec.model.kind == TokenModelKind::unigram && p.type != PieceType::normal &&
                        p.type != PieceType::user_defined;
    if (p.type == PieceType::unused || others) spec.model.unused.push_back(id);
    if (p.type == PieceType::user_defined) spec.model.user_defined.push_back(id);
    if (spec.model.kind == TokenModelKind::unigram) spec.model.scores.push_back(p.score);
    if (p.type == PieceType::unknown) spec.model.unk_id = id;
    const bool marker = p.type == PieceType::unknown || p.type == PieceType::control;
    const bool cut_out =
        p.type == PieceType::user_defined && p.text.find("\xE2\x96\x81") == std::string::npos;
    if (marker || cut_out)
      spec.added_tokens.push_back({.id = id, .content = p.text, .special = marker});
  }
  spec.model.byte_fallback = m.byte_fallback;
  spec.model.fuse_unk = true;
  spec.model.single_precision = true;
  if (spec.model.kind == TokenModelKind::bpe) add_merges(m, spec.model);
  const auto valid = [&](int64_t id) -> std::optional<TokenId> {
    if (id < 0 || id >= std::ssize(m.pieces)) return std::nullopt;
    if (m.pieces[static_cast<size_t>(id)].type != PieceType::control) return std::nullopt;
    return static_cast<TokenId>(id);
  };
  spec.bos_id = valid(m.bos_id);
  spec.eos_id = valid(m.eos_id);
  spec.pad_id = valid(m.pad_id);
  spec.normalizer = normalizer_of(m);
  JsonArray decoders{JsonObject{{"type", "Replace"},
                                {"pattern", JsonObject{{"String", "\xE2\x96\x81"}}},
                                {"content", " "}},
                     JsonObject{{"type", "ByteFallback"}}, JsonObject{{"type", "Fuse"}}};
  if (m.add_dummy_prefix || m.remove_extra_whitespaces)
    decoders.push_back(JsonObject{{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  spec.decoder = JsonObject{{"type", "Sequence"}, {"decoders", std::move(decoders)}};
  return spec;
}

}  // namespace moe
