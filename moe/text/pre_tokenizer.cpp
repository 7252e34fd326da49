// SPDX-License-Identifier: MIT
#include "moe/text/pre_tokenizer.h"

#include <functional>

#include "moe/base/error.h"
#include "moe/base/utf8.h"
#include "moe/text/byte_alphabet.h"
#include "moe/text/regex.h"
#include "moe/text/script.h"
#include "moe/text/unicode.h"

namespace moe {
namespace {

uint16_t flags_of(char32_t c) { return code_point_flags()[c]; }

/// A text cut into stretches that match and stretches between them, in order, none left out.
struct Stretch {
  size_t begin, end;
  bool match;
};
using Stretches = std::vector<Stretch>;
using FindStretches = std::function<void(std::string_view text, Stretches& out)>;

/// Each code point for which the test holds is a match of its own.
FindStretches each_character(std::function<bool(char32_t)> test) {
  return [test = std::move(test)](std::string_view text, Stretches& out) {
    size_t gap = 0;
    for (size_t i = 0; i < text.size();) {
      const CodePoint c = code_point_at(text, i);
      if (test(c.value)) {
        if (gap < i) out.push_back({gap, i, false});
        out.push_back({i, i + c.size, true});
        gap = i + c.size;
      }
      i += c.size;
    }
    if (gap < text.size()) out.push_back({gap, text.size(), false});
  };
}

FindStretches each_match(std::shared_ptr<const Regex> regex) {
  return [regex = std::move(regex)](std::string_view text, Stretches& out) {
    size_t gap = 0;
    Regex::Search search(*regex, text);
    for (Regex::Match m; (m = search.next()).begin != std::string::npos; gap = m.end) {
      if (gap < m.begin) out.push_back({gap, m.begin, false});
      out.push_back({m.begin, m.end, true});
    }
    if (gap < text.size()) out.push_back({gap, text.size(), false});
  };
}

enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

Behavior parse_behavior(const std::string& name, const std::string& what) {
  constexpr std::pair<const char*, Behavior> kNames[] = {
      {"Removed", Behavior::removed},
      {"Isolated", Behavior::isolated},
      {"MergedWithPrevious", Behavior::merged_with_previous},
      {"MergedWithNext", Behavior::merged_with_next},
      {"Contiguous", Behavior::contiguous}};
  for (const auto& [known, behavior] : kNames)
    if (name == known) return behavior;
  throw Error(str(what, ": behavior '", printable(name, 40),
                  "' is not Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous"));
}

/// Joins stretches as the behavior says; what is left are pieces.
void arrange(Stretches& s, Behavior behavior) {
  Stretches out;
  out.reserve(s.size());
  switch (behavior) {
    case Behavior::isolated: return;
    case Behavior::removed:
      for (const Stretch& part : s)
        if (!part.match) out.push_back(part);
      break;
    case Behavior::contiguous: {
      bool previous = false;
      for (const Stretch& part : s) {
        if (part.match == previous && !out.empty())
          out.back().end = part.end;
        else
          out.push_back(part);
        previous = part.match;
      }
      break;
    }
    case Behavior::merged_with_previous: {
      bool previous = false;
      for (const Stretch& part : s) {
        if (part.match && !previous && !out.empty())
          out.back().end = part.end;
        else
          out.push_back(part);
        previous = part.match;
      }
      break;
    }
    case Behavior::merged_with_next: {
      bool previous = false;
      for (size_t i = s.size(); i-- > 0;) {
        if (s[i].match && !previous && !out.empty())
          out.back().begin = s[i].begin;
        else
          out.push_back(s[i]);
        previous = s[i].match;
      }
      std::reverse(out.begin(), out.end());
      break;
    }
  }
  s = std::move(out);
}

class Splitter : public PreTokenizer {
 public:
  Splitter(FindStretches find, Behavior behavior, bool invert = false)
      : find_(std::move(find)), behavior_(behavior), invert_(invert) {}
  void split(Pieces& pieces) const override {
    std::vector<std::string_view> out;
    out.reserve(pieces.list.size());
    Stretches stretches;
    for (const std::string_view piece : pieces.list) {
      stretches.clear();
      find_(piece, stretches);
      if (invert_)
        for (Stretch& s : stretches) s.match = !s.match;
      arrange(stretches, behavior_);
      for (const Stretch& s : stretches)
        if (s.begin < s.end) out.push_back(piece.substr(s.begin, s.end - s.begin));
    }
    pieces.list = std::move(out);
  }

 private:
  FindStretches find_;
  Behavior behavior_;
  bool invert_;
};

class Scan : public PreTokenizer {
 public:
  explicit Scan(PieceScanner scan) : scan_(scan) {}
  void split(Pieces& pieces) const override {
    std::vector<std::string_view> out;
    for (const std::string_view piece : pieces.list) {
      for (size_t i = 0; i < piece.size();) {
        const size_t end = scan_(piece, i);
        out.push_back(piece.substr(i, end - i));
        i = end;
      }
    }
    pieces.list = std::move(out);
  }
  PieceScanner scanner() const override { return scan_; }

 private:
  PieceScanner scan_;
};

class SpellBytes : public PreTokenizer {
 public:
  void split(Pieces& pieces) const override {
    for (std::string_view& piece : pieces.list)
      piece = pieces.owned.emplace_back(spell_bytes(piece));
  }
};

class PrefixSpace : public PreTokenizer {
 public:
  void split(Pieces& pieces) const override {
    for (std::string_view& piece : pieces.list)
      if (!starts_with(piece, " ")) piece = pieces.owned.emplace_back(str(' ', piece));
  }
};

class Metaspace : public PreTokenizer {
 public:
  Metaspace(std::string replacement, std::string scheme, bool split)
      : replacement_(std::move(replacement)), scheme_(std::move(scheme)), split_(split) {}
  void split(Pieces& pieces) const override {
    std::vector<std::string_view> out;
    bool at_start = pieces.at_text_start;
    for (const std::string_view piece : pieces.list) {
      std::string text;
      text.reserve(piece.size() + 3);
      for (const char b : piece) {
        if (b == ' ')
          text += replacement_;
        else
          text += b;
      }
      const bool wanted = scheme_ == "always" || (scheme_ == "first" && at_start);
      if (wanted && !starts_with(text, replacement_)) text.insert(0, replacement_);
      at_start = false;
      std::string_view rest = pieces.owned.emplace_back(std::move(text));
      while (split_ && !rest.empty()) {  // before each replacement
        const size_t next =
            rest.find(replacement_, starts_with(rest, replacement_) ? replacement_.size() : 0);
        if (next == std::string_view::npos) break;
        out.push_back(rest.substr(0, next));
        rest.remove_prefix(next);
      }
      if (!rest.empty()) out.push_back(rest);
    }
    pieces.list = std::move(out);
  }

 private:
  std::string replacement_, scheme_;
  bool split_;
};

/// Cuts where the script changes; spaces and what has no script belong to what stands before them,
/// kana and the prolonged sound mark to Han.
class UnicodeScripts : public PreTokenizer {
 public:
  void split(Pieces& pieces) const override {
    const int hiragana = script_number("Hiragana"), katakana = script_number("Katakana"),
              han = script_number("Han");
    std::vector<std::string_view> out;
    for (const std::string_view piece : pieces.list) {
      constexpr int kAny = -1, kNone = -2;
      int last = kNone;
      size_t begin = 0;
      for (size_t i = 0; i < piece.size();) {
        const CodePoint c = code_point_at(piece, i);
        int script = c.value == U' ' || c.value == kInvalidByte ? 0 : script_of(c.value);
        if (script == 0) script = kAny;
        if (c.value == 0x30FC || script == hiragana || script == katakana) script = han;
        if (script != kAny && last != kAny && last != script && i > begin) {
          out.push_back(piece.substr(begin, i - begin));
          begin = i;
        }
        if (script != kAny || last == kNone) last = script;
        i += c.size;
      }
      if (begin < piece.size()) out.push_back(piece.substr(begin));
    }
    pieces.list = std::move(out);
  }
};

class FixedLength : public PreTokenizer {
 public:
  explicit FixedLength(int64_t length) : length_(length) {}
  void split(Pieces& pieces) const override {
    std::vector<std::string_view> out;
    for (const std::string_view piece : pieces.list) {
      size_t begin = 0, end = 0;
      for (int64_t n = 0; end < piece.size();) {
        end += code_point_at(piece, end).size;
        if (++n == length_) {
          out.push_back(piece.substr(begin, end - begin));
          begin = end;
          n = 0;
        }
      }
      if (begin < end) out.push_back(piece.substr(begin));
    }
    pieces.list = std::move(out);
  }

 private:
  int64_t length_;
};

bool is_ascii_punctuation(char32_t c) {
  return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
         (c >= 123 && c <= 126);
}
bool is_punctuation(char32_t c) { return is_ascii_punctuation(c) || (flags_of(c) & kPunctuation); }
bool is_space(char32_t c) { return flags_of(c) & kWhiteSpace; }
/// \w+|[^\w\s]+
size_t scan_words(std::string_view text, size_t begin) {
  const auto kind = [&](size_t i) {
    const char32_t c = code_point_at(text, i).value;
    return flags_of(c) & kWordCharacter ? 1 : is_space(c) ? 2 : 0;
  };
  const int first = kind(begin);
  size_t end = begin;
  while (end < text.size() && kind(end) == first) end += code_point_at(text, end).size;
  return end;
}

class Words : public PreTokenizer {
 public:
  void split(Pieces& pieces) const override {
    Scan(scan_words).split(pieces);
    std::erase_if(pieces.list,
                  [](std::string_view piece) { return is_space(code_point_at(piece, 0).value); });
  }
};

std::unique_ptr<PreTokenizer> make_split(const JsonReader& r) {
  const Json& pattern = r.at("pattern");
  const Behavior behavior = parse_behavior(r.string("behavior"), r.what());
  const bool invert = r.boolean_or("invert", false);
  MOE_CHECK(pattern.is_object(), r.what(), ": the pattern of a Split is no object");
  const JsonReader p(pattern.as_object(), r.what());
  std::string regex;
  if (p.has("String")) {
    regex = Regex::escape(p.string("String"));
  } else {
    regex = p.string("Regex");
    const SplitPattern* known = known_split_pattern(regex);
    const bool all_kept = behavior == Behavior::isolated ||
                          (known && known->total && behavior == Behavior::removed && invert);
    if (known && all_kept) return std::make_unique<Scan>(known->scan);
  }
  return std::make_unique<Splitter>(each_match(std::make_shared<const Regex>(regex, r.what())),
                                    behavior, invert);
}

void add_steps(const Json& json, const std::string& source, PreTokenizerSteps& out) {
  if (json.is_null()) return;
  MOE_CHECK(json.is_object(), source, ": the pre-tokenizer is no object");
  const std::string what = source + ": pre-tokenizer";
  const JsonReader r(json.as_object(), what);
  const std::string type = r.string("type");
  const auto add = [&](std::unique_ptr<PreTokenizer> step) {
    out.steps.push_back(std::move(step));
    out.ends_in_bytes = false;
  };
  const auto add_splitter = [&](FindStretches find, Behavior behavior) {
    add(std::make_unique<Splitter>(std::move(find), behavior));
  };
  if (type == "Sequence") {
    const Json& parts = r.at("pretokenizers");
    MOE_CHECK(parts.is_array(), what, ": 'pretokenizers' is no list");
    for (const Json& part : parts.as_array()) add_steps(part, source, out);
  } else if (type == "ByteLevel") {
    if (r.boolean_or("add_prefix_space", true)) add(std::make_unique<PrefixSpace>());
    if (r.boolean_or("use_regex", true))
      add(std::make_unique<Scan>(find_split_pattern("gpt2").scan));
    add(std::make_unique<SpellBytes>());
    out.ends_in_bytes = true;
  } else if (type == "Split") {
    add(make_split(r));
  } else if (type == "Metaspace") {
    const std::string replacement = r.string_or("replacement", "\xE2\x96\x81");
    std::string scheme = r.string_or("prepend_scheme", "");
    if (scheme.empty()) scheme = r.boolean_or("add_prefix_space", true) ? "always" : "never";
    MOE_CHECK(scheme == "always" || scheme == "first" || scheme == "never", what,
              ": prepend_scheme '", printable(scheme, 40), "' is not always, first or never");
    MOE_CHECK(!replacement.empty(), what, ": the replacement of a Metaspace is empty");
    add(std::make_unique<Metaspace>(replacement, scheme, r.boolean_or("split", true)));
  } else if (type == "Digits") {
    add_splitter(
        each_character([](char32_t c) { return (flags_of(c) & kNumber) != 0; }),
        r.boolean_or("individual_digits", false) ? Behavior::isolated : Behavior::contiguous);
  } else if (type == "Punctuation") {
    add_splitter(each_character(is_punctuation),
                 parse_behavior(r.string_or("behavior", "Isolated"), what));
  } else if (type == "Whitespace") {
    add(std::make_unique<Words>());
  } else if (type == "WhitespaceSplit") {
    add_splitter(each_character(is_space), Behavior::removed);
  } else if (type == "CharDelimiterSplit") {
    const std::string delimiter = r.string("delimiter");
    MOE_CHECK(!delimiter.empty() && code_point_at(delimiter, 0).size == delimiter.size(), what,
              ": the delimiter '", printable(delimiter, 20), "' is not one character");
    const char32_t c = code_point_at(delimiter, 0).value;
    add_splitter(each_character([c](char32_t other) { return other == c; }), Behavior::removed);
  } else if (type == "BertPreTokenizer") {
    add_splitter(each_character(is_space), Behavior::removed);
    add_splitter(each_character(is_punctuation), Behavior::isolated);
  } else if (type == "UnicodeScripts") {
    add(std::make_unique<UnicodeScripts>());
  } else if (type == "FixedLength") {
    const int64_t length = r.integer_or("length", 5);
    MOE_CHECK(length > 0, what, ": the length of a FixedLength is ", length, ", must be positive");
    add(std::make_unique<FixedLength>(length));
  } else {
    throw Error(str(source, ": a pre-tokenizer of type '", printable(type, 40),
                    "', which this program does not know; it knows ByteLevel, Split, Metaspace, "
                    "Digits, Punctuation, Whitespace, WhitespaceSplit, CharDelimiterSplit, "
                    "BertPreTokenizer, UnicodeScripts, FixedLength and Sequence"));
  }
}

}  // namespace

void PreTokenizerSteps::split(Pieces& pieces) const {
  for (const auto& step : steps) step->split(pieces);
}

PreTokenizerSteps make_pre_tokenizer(const Json& json, const std::string& what) {
  PreTokenizerSteps out;
  add_steps(json, what, out);
  return out;
}

}  // namespace moe
