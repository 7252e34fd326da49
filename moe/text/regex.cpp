// SPDX-License-Identifier: MIT
#include "moe/text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "moe/base/error.h"

namespace moe {
namespace {

constexpr size_t kMaxPattern = size_t{64} << 10;
// Steps of one match. A pattern that is linear in the text stays below it up to pieces of some
// megabytes; one that backtracks without end is stopped within about a second.
constexpr uint32_t kMatchLimit = 50'000'000;
constexpr uint32_t kHeapLimitKiB = 256 * 1024;
constexpr size_t kJitStackBytes = size_t{16} << 20;

/// Oniguruma's spelling in PCRE2's.
std::string translate(std::string_view pattern, const std::string& what) {
  // PCRE2's own \s takes U+180E too, which is no White_Space.
  constexpr std::string_view kSpaces =
      "\\x{9}-\\x{D}\\x{20}\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}"
      "\\x{205F}\\x{3000}";
  std::string out;
  int depth = 0;  // of a class
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c != '\\' || i + 1 == pattern.size()) {
      if (c == '[') {
        // A '[' within a class is a letter for PCRE2 and the begin of a class for Oniguruma, which
        // asks for an escape there; "[[:alpha:]]" is the same in both.
        if (depth == 0) {
          depth = 1;
          out += c;
          if (i + 1 < pattern.size() && pattern[i + 1] == '^') out += pattern[++i];
          if (i + 1 < pattern.size() && pattern[i + 1] == ']') {
            out += "\\]";
            ++i;
          }
          continue;
        }
        const size_t end = pattern.find(":]", i);
        if (i + 1 < pattern.size() && pattern[i + 1] == ':' && end != std::string_view::npos) {
          out += pattern.substr(i, end + 2 - i);
          i = end + 1;
          continue;
        }
        out += "\\[";
        continue;
      }
      if (c == ']' && depth > 0) depth = 0;
      out += c;
      // X{1,3}+ is (X{1,3})+ in Ruby's syntax and possessive in PCRE2.
      if (c == '}' && depth == 0 && i + 1 < pattern.size() && pattern[i + 1] == '+') {
        const size_t open = out.rfind('{');
        const std::string range = open == std::string::npos ? "" : out.substr(open);
        if (starts_with(range, "{0,") || starts_with(range, "{1,")) {
          out.replace(open, std::string::npos, range[1] == '0' ? "*" : "{1,}");
          ++i;
        } else if (starts_with(range, "{") && range.size() > 2 && range[1] >= '0' &&
                   range[1] <= '9') {
          throw Error(str(what, ": the regular expression has '", printable(range, 20),
                          "+', a repeated repetition, which is not supported"));
        }
      }
      continue;
    }
    const char next = pattern[++i];
    if (next == 's') {
      out += depth > 0 ? std::string(kSpaces) : str('[', kSpaces, ']');
    } else if (next == 'S' && depth == 0) {
      out += str("[^", kSpaces, ']');
    } else if (next == 'u' && i + 4 < pattern.size()) {
      out += str("\\x{", pattern.substr(i + 1, 4), '}');
      i += 4;
    } else if (next == 'h' || next == 'H') {  // Oniguruma: a hexadecimal digit
      out += depth > 0     ? (next == 'h' ? "0-9A-Fa-f" : "\\H")
             : next == 'h' ? "[0-9A-Fa-f]"
                           : "[^0-9A-Fa-f]";
    } else {
      out += c;
      out += next;
    }
  }
  return out;
}

std::string message_of(int code) {
  PCRE2_UCHAR text[256] = {};
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

struct Regex::Code {
  pcre2_code* code = nullptr;
  std::string pattern, what;
  ~Code() { pcre2_code_free(code); }
};

Regex::Regex(std::string_view pattern, const std::string& what) : code_(std::make_unique<Code>()) {
  MOE_CHECK(pattern.size() <= kMaxPattern, what, ": a regular expression of ", pattern.size(),
            " bytes; at most ", kMaxPattern, " are read");
  const size_t bad = first_invalid_utf8(pattern);
  MOE_CHECK(bad == std::string_view::npos, what, ": a regular expression that is not UTF-8");
  const std::string translated = translate(pattern, what);
  int error = 0;
  PCRE2_SIZE offset = 0;
  // Not MULTILINE | UTF alone: DOLLAR_ENDONLY has no meaning beside MULTILINE, which is what Ruby
  // syntax always has.
  code_->code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_MATCH_INVALID_UTF,
      &error, &offset, nullptr);
  MOE_CHECK(code_->code, what, ": the regular expression '", printable(pattern, 80),
            "' is wrong or not supported: ", message_of(error), " (near byte ", offset, ")");
  code_->pattern = printable(pattern, 80);
  code_->what = what;
  pcre2_jit_compile(code_->code, PCRE2_JIT_COMPLETE);  // without it matching is only slower
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

std::string Regex::escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\^$.[]|()?*+{}#- \t\n\r").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

struct Regex::Search::State {
  const Code& code;
  std::string_view text;
  size_t position = 0;
  bool done = false;
  pcre2_match_data* data;
  pcre2_match_context* context;
  pcre2_jit_stack* stack;

  State(const Code& c, std::string_view t)
      : code(c),
        text(t),
        data(pcre2_match_data_create_from_pattern(c.code, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(size_t{32} << 10, kJitStackBytes, nullptr)) {
    if (!data || !context) throw std::bad_alloc();
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, kHeapLimitKiB);
    if (stack) pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~State() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

Regex::Search::Search(const Regex& regex, std::string_view text)
    : state_(std::make_unique<State>(*regex.code_, text)) {}
Regex::Search::~Search() = default;

Regex::Match Regex::Search::next() {
  State& s = *state_;
  constexpr Match kNone{std::string::npos, std::string::npos};
  if (s.done || s.position > s.text.size()) return kNone;
  const int n = pcre2_match(s.code.code, reinterpret_cast<PCRE2_SPTR>(s.text.data()), s.text.size(),
                            s.position, 0, s.data, s.context);
  if (n == PCRE2_ERROR_NOMATCH) {
    s.done = true;
    return kNone;
  }
  MOE_CHECK(n > 0, s.code.what, ": the regular expression '", s.code.pattern,
            "' costs too much on this text (", message_of(n),
            "); shorten runs of one kind of character, or use a tokenizer with a known pattern");
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(s.data);
  const Match match{offsets[0], offsets[1]};
  MOE_CHECK(match.begin <= match.end, s.code.what, ": the regular expression '", s.code.pattern,
            "' sets the begin of a match behind its end");
  s.position = match.end;
  if (match.begin == match.end) {
    do ++s.position;
    while (s.position < s.text.size() && (static_cast<uint8_t>(s.text[s.position]) & 0xC0) == 0x80);
  }
  return match;
}

}  // namespace moe
