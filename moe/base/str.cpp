// SPDX-License-Identifier: MIT
// Small text functions: see the header. UTF-8 is checked by the table of well-formed sequences
// (Unicode 15, table 3-7).
#include "moe/base/str.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <utility>

namespace moe {
namespace {

/// Length of the well-formed UTF-8 sequence at the start of text, 0 when there is none.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto continues = [&](size_t i, unsigned low, unsigned high) {
    return i < text.size() && byte(i) >= low && byte(i) <= high;
  };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return continues(1, 0x80, 0xBF) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF) {
    // E0: no overlong forms; ED: no surrogates.
    const unsigned low = lead == 0xE0 ? 0xA0 : 0x80, high = lead == 0xED ? 0x9F : 0xBF;
    return continues(1, low, high) && continues(2, 0x80, 0xBF) ? 3 : 0;
  }
  if (lead >= 0xF0 && lead <= 0xF4) {
    // F0: no overlong forms; F4: nothing above U+10FFFF.
    const unsigned low = lead == 0xF0 ? 0x90 : 0x80, high = lead == 0xF4 ? 0x8F : 0xBF;
    return continues(1, low, high) && continues(2, 0x80, 0xBF) && continues(3, 0x80, 0xBF) ? 4 : 0;
  }
  return 0;
}

/// C0 and C1 controls and DEL: what a terminal may take for a command (U+009B starts one like ESC
/// [).
bool is_control(std::string_view sequence) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(sequence[i]); };
  if (sequence.size() == 1) return byte(0) < 0x20 || byte(0) == 0x7F;
  return sequence.size() == 2 && byte(0) == 0xC2 && byte(1) < 0xA0;
}

/// Edit distance with swaps of neighbours, each character edited at most once (optimal string
/// alignment).
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before_last, last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] =
          std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0u : 1u)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last = std::exchange(last, row);
  }
  return last[b.size()];
}

}  // namespace

void TextPart::append_to(std::string& out) const {
  switch (kind_) {
    case Kind::text: out += text_; return;
    case Kind::character: out += character_; return;
    case Kind::truth: out += truth_ ? "true" : "false"; return;
    case Kind::signed_number: out += fmt::format("{}", signed_); return;
    case Kind::unsigned_number: out += fmt::format("{}", unsigned_); return;
    case Kind::float_number: out += fmt::format("{}", float_); return;
    case Kind::double_number: out += fmt::format("{}", double_); return;
  }
}

std::string concatenate(std::initializer_list<TextPart> parts) {
  std::string out;
  for (const TextPart& part : parts) part.append_to(out);
  return out;
}

std::string printable(std::string_view text, size_t max_chars) {
  std::string out;
  size_t n_chars = 0;
  for (size_t i = 0; i < text.size();) {
    if (n_chars >= max_chars) return out + "...";
    const size_t length = utf8_length(text.substr(i));
    const std::string_view sequence = text.substr(i, std::max<size_t>(length, 1));
    if (length == 0 || is_control(sequence))
      for (const char c : sequence) out += fmt::format("\\x{:02X}", static_cast<unsigned char>(c));
    else
      out += sequence;
    i += sequence.size();
    ++n_chars;
  }
  return out;
}

std::string nearest_word(std::string_view word, std::span<const std::string> candidates) {
  // Longer than any key or option: not a typing error, and the distance costs the product of the
  // lengths.
  constexpr size_t kMaxLength = 200;
  if (word.size() > kMaxLength) return "";
  std::string best;
  size_t best_distance = kMaxLength;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > kMaxLength) continue;
    const size_t allowed = std::max<size_t>(1, std::max(word.size(), candidate.size()) / 3);
    const size_t distance = edit_distance(word, candidate);
    if (distance > allowed || distance >= best_distance) continue;
    best = candidate;
    best_distance = distance;
  }
  return best;
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (true) {
    const size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string join(std::span<const std::string> parts, std::string_view separator) {
  return fmt::format("{}", fmt::join(parts, separator));
}

bool starts_with(std::string_view text, std::string_view prefix) {
  return text.starts_with(prefix);
}

bool ends_with(std::string_view text, std::string_view suffix) { return text.ends_with(suffix); }

std::string trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\r\f\v";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(kSpace) - begin + 1));
}

std::string with_commas(int64_t n) {
  std::string digits = std::to_string(n);
  const size_t first = n < 0 ? 1 : 0;
  for (size_t i = digits.size(); i > first + 3;) digits.insert(i -= 3, ",");
  return digits;
}

std::string human_bytes(uint64_t bytes) {
  if (bytes < 1024) return str(bytes, " B");
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // 1023.95 would print as "1024.0".
  for (; value >= 1023.95 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string human_seconds(double seconds) {
  if (!std::isfinite(seconds)) return "unknown";
  if (seconds < 0) return "-" + human_seconds(-seconds);
  if (seconds < 0.9995) return fmt::format("{:.0f} ms", seconds * 1000);
  if (seconds < 9.95) return fmt::format("{:.1f} s", seconds);
  if (seconds >= 1e15) return fmt::format("{:.0f} days", seconds / 86400);
  const int64_t s = std::llround(seconds);
  if (s < 60) return str(s, " s");
  if (s < 3600) return str(s / 60, " min ", s % 60, " s");
  if (s < 86400) return str(s / 3600, " h ", s % 3600 / 60, " min");
  return str(s / 86400, " d ", s % 86400 / 3600, " h");
}

size_t first_invalid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const size_t length = utf8_length(text.substr(i));
    if (length == 0) return i;
    i += length;
  }
  return std::string_view::npos;
}

}  // namespace moe
