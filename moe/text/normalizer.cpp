// SPDX-License-Identifier: MIT
#include "moe/text/normalizer.h"

#include <cstring>
#include <functional>

#include "moe/base/base64.h"
#include "moe/base/error.h"
#include "moe/base/utf8.h"
#include "moe/text/byte_alphabet.h"
#include "moe/text/regex.h"
#include "moe/text/unicode.h"

namespace moe {
namespace {

bool is_white(char32_t c) { return code_point_flags()[c] & kWhiteSpace; }

/// A new text from each code point: `put(out, code point, its bytes)`.
std::string rewrite(std::string_view text,
                    const std::function<void(std::string&, char32_t, std::string_view)>& put) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    put(out, c.value, text.substr(i, c.size));
    i += c.size;
  }
  return out;
}

/// A normalizer that is a function of the text.
class Function : public Normalizer {
 public:
  explicit Function(std::function<std::string(std::string_view)> f) : f_(std::move(f)) {}
  void apply(std::string& text) const override { text = f_(text); }

 private:
  std::function<std::string(std::string_view)> f_;
};

std::unique_ptr<Normalizer> function(std::function<std::string(std::string_view)> f) {
  return std::make_unique<Function>(std::move(f));
}

class Sequence : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Normalizer>> parts) : parts_(std::move(parts)) {}
  void apply(std::string& text) const override {
    for (const auto& part : parts_) part->apply(text);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

std::string strip(std::string_view text, bool left, bool right) {
  while (left && !text.empty() && is_white(code_point_at(text, 0).value))
    text.remove_prefix(code_point_at(text, 0).size);
  while (right && !text.empty() && is_white(code_point_before(text, text.size()).value))
    text.remove_suffix(code_point_before(text, text.size()).size);
  return std::string(text);
}

std::string without_flags(std::string_view text, uint16_t flags) {
  return rewrite(text, [&](std::string& out, char32_t c, std::string_view bytes) {
    if (!(code_point_flags()[c] & flags)) out += bytes;
  });
}

bool is_chinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) ||
         (c >= 0x2B920 && c <= 0x2CEAF) ||  // sic: the library's range
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

std::unique_ptr<Normalizer> make_bert(const JsonReader& r) {
  const bool clean = r.boolean_or("clean_text", true),
             chinese = r.boolean_or("handle_chinese_chars", true),
             lower = r.boolean_or("lowercase", true),
             accents = r.boolean_or("strip_accents", lower);
  return function([=](std::string_view text) {
    std::string out(text);
    if (clean) {
      out = rewrite(out, [](std::string& to, char32_t c, std::string_view bytes) {
        const bool blank = c == '\t' || c == '\n' || c == '\r';
        if (!blank && (c == 0 || c == 0xFFFD || (code_point_flags()[c] & kControl))) return;
        if (is_white(c))
          to += ' ';
        else
          to += bytes;
      });
    }
    if (chinese) {
      out = rewrite(out, [](std::string& to, char32_t c, std::string_view bytes) {
        to += is_chinese(c) ? str(' ', bytes, ' ') : std::string(bytes);
      });
    }
    if (accents) out = without_flags(to_normal_form(out, NormalForm::nfd), kNonspacing);
    return lower ? to_lower(out) : out;
  });
}

std::string nmt(std::string_view text) {
  return rewrite(text, [](std::string& out, char32_t c, std::string_view bytes) {
    if ((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
        c == 0x9F)
      return;
    const bool blank = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                       (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                       c == 0xFEFF || c == 0xFFFD;
    if (blank)
      out += ' ';
    else
      out += bytes;
  });
}

/// The library's use of the map: whole grapheme clusters below 6 bytes first, then characters, and
/// the shortest key that fits stands for all of it.
std::string precompiled(const PrecompiledCharsMap& map, std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const size_t cluster = grapheme_size(text, i);
    const std::string_view grapheme = text.substr(i, cluster);
    i += cluster;
    size_t used = 0;
    if (cluster < 6) {
      const std::string_view found = map.replacement(grapheme, 0, false, used);
      if (used > 0) {
        out += found;
        continue;
      }
    }
    for (size_t k = 0; k < cluster;) {
      const size_t size = code_point_at(grapheme, k).size;
      const std::string_view found = map.replacement(grapheme.substr(k, size), 0, false, used);
      out += used > 0 ? found : grapheme.substr(k, size);
      k += size;
    }
  }
  return out;
}

std::unique_ptr<Normalizer> make_replace(const JsonReader& r) {
  const Json& pattern = r.at("pattern");
  const std::string content = r.string("content"), what = r.what();
  MOE_CHECK(pattern.is_object(), what, ": the pattern of a Replace is no object");
  const JsonReader p(pattern.as_object(), what);
  if (p.has("String")) {
    const std::string from = p.string("String");
    return function([=](std::string_view text) {
      if (from.empty()) return std::string(text);
      std::string out;
      out.reserve(text.size());
      for (size_t at; (at = text.find(from)) != std::string_view::npos;) {
        out += text.substr(0, at);
        out += content;
        text.remove_prefix(at + from.size());
      }
      return out += text;
    });
  }
  const auto regex = std::make_shared<const Regex>(p.string("Regex"), what);
  return function([=](std::string_view text) {
    std::string out;
    size_t done = 0;
    Regex::Search search(*regex, text);
    for (Regex::Match m; (m = search.next()).begin != std::string::npos; done = m.end) {
      out += text.substr(done, m.begin - done);
      out += content;
    }
    return out += text.substr(done);
  });
}

std::unique_ptr<Normalizer> make_sequence(const Json& parts, const std::string& what) {
  MOE_CHECK(parts.is_array(), what, ": 'normalizers' is no list");
  std::vector<std::unique_ptr<Normalizer>> out;
  for (const Json& part : parts.as_array())
    if (auto normalizer = make_normalizer(part, what)) out.push_back(std::move(normalizer));
  if (out.empty()) return nullptr;
  if (out.size() == 1) return std::move(out.front());
  return std::make_unique<Sequence>(std::move(out));
}

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const Json& json, const std::string& source) {
  if (json.is_null()) return nullptr;
  MOE_CHECK(json.is_object(), source, ": the normalizer is no object");
  const std::string what = source + ": normalizer";
  const JsonReader r(json.as_object(), what);
  const std::string type = r.string("type");
  for (const auto& [name, form] : {std::pair{"NFC", NormalForm::nfc},
                                   {"NFD", NormalForm::nfd},
                                   {"NFKC", NormalForm::nfkc},
                                   {"NFKD", NormalForm::nfkd}})
    if (type == name)
      return function([f = form](std::string_view t) { return to_normal_form(t, f); });
  if (type == "Lowercase") return function(to_lower);
  if (type == "StripAccents")
    return function([](std::string_view t) { return without_flags(t, kMark); });
  if (type == "Strip") {
    const bool left = r.boolean_or("strip_left", true), right = r.boolean_or("strip_right", true);
    return function([=](std::string_view t) { return strip(t, left, right); });
  }
  if (type == "Replace") return make_replace(r);
  if (type == "Prepend") {
    const std::string prefix = r.string("prepend");
    return function([=](std::string_view t) { return t.empty() ? "" : str(prefix, t); });
  }
  if (type == "BertNormalizer") return make_bert(r);
  if (type == "Precompiled") {
    const auto map = std::make_shared<const PrecompiledCharsMap>(
        decode_base64(r.string("precompiled_charsmap"), what), what);
    // SentencePiece's own rule, which the reader of its files asks for.
    if (r.boolean_or("longest", false)) {
      const auto kept = std::make_shared<Trie>();
      if (r.has("kept")) {
        MOE_CHECK(r.at("kept").is_array(), what, ": 'kept' is no list");
        for (const Json& text : r.at("kept").as_array()) {
          MOE_CHECK(text.is_string() && !text.as_string().empty(), what,
                    ": 'kept' holds what is not a text");
          kept->add(std::string_view(text.as_string()), 0);
        }
      }
      return function([map, kept](std::string_view t) { return map->normalize(t, *kept); });
    }
    return function([map](std::string_view t) { return precompiled(*map, t); });
  }
  if (type == "Nmt") return function(nmt);
  if (type == "ByteLevel") return function(spell_bytes);
  if (type == "Sequence") return make_sequence(r.at("normalizers"), source);
  throw Error(str(source, ": a normalizer of type '", printable(type, 40),
                  "', which this program does not know; it knows NFC, NFD, NFKC, NFKD, Lowercase, "
                  "Strip, StripAccents, Replace, Prepend, BertNormalizer, Precompiled, Nmt, "
                  "ByteLevel and Sequence"));
}

// ---- SentencePiece's map ------------------------------------------------------------------

PrecompiledCharsMap::PrecompiledCharsMap(std::string blob, const std::string& what)
    : blob_(std::move(blob)) {
  if (blob_.empty()) return;
  uint32_t trie = 0;
  MOE_CHECK(blob_.size() >= 4, what, ": the precompiled map has ", blob_.size(), " bytes");
  std::memcpy(&trie, blob_.data(), 4);
  MOE_CHECK(trie % 4 == 0 && trie <= blob_.size() - 4, what,
            ": the precompiled map says that its trie has ", trie, " bytes, but ", blob_.size() - 4,
            " are there");
  n_units_ = trie / 4;
  replacements_ = 4 + trie;
}

uint32_t PrecompiledCharsMap::unit(size_t i) const {
  if (i >= n_units_) return 0;  // a damaged array leads nowhere
  uint32_t out;
  std::memcpy(&out, blob_.data() + 4 + 4 * i, 4);
  return out;
}

std::string_view PrecompiledCharsMap::replacement(std::string_view text, size_t position,
                                                  bool longest, size_t& size) const {
  // Units of Darts-clone: bit 31 marks a leaf (value in the low 31 bits), bits 0-7 the label, bit 8
  // that a leaf follows, bits 10-30 the offset, shifted by 8 more where bit 9 is set.
  size = 0;
  if (n_units_ == 0) return {};
  const auto offset = [](uint32_t u) { return size_t{u >> 10} << ((u & (1u << 9)) >> 6); };
  size_t node = offset(unit(0)), value = 0;
  for (size_t i = position; i < text.size(); ++i) {
    const auto label = static_cast<uint8_t>(text[i]);
    if (label == 0) break;
    node ^= label;
    const uint32_t u = unit(node);
    if ((u & (0x80000000u | 0xFF)) != label) break;
    node ^= offset(u);
    if ((u >> 8) & 1) {
      value = unit(node) & 0x7FFFFFFFu;
      size = i + 1 - position;
      if (!longest) break;
    }
  }
  if (size == 0 || value >= blob_.size() - replacements_) {
    size = 0;
    return {};
  }
  const std::string_view rest = std::string_view(blob_).substr(replacements_ + value);
  return rest.substr(0, rest.find('\0'));
}

std::string PrecompiledCharsMap::normalize(std::string_view text, const Trie& kept) const {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    size_t used = kept.longest(text, i).second;
    const std::string_view found =
        used > 0 ? text.substr(i, used) : replacement(text, i, true, used);
    if (used == 0) {
      const CodePoint c = code_point_at(text, i);
      // A byte that is not UTF-8 becomes U+FFFD there.
      out += c.value == kInvalidByte ? "\xEF\xBF\xBD" : text.substr(i, c.size);
      i += c.size;
    } else {
      out += found;
      i += used;
    }
  }
  return out;
}

}  // namespace moe
