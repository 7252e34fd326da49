// SPDX-License-Identifier: MIT
#include "moe/data/text_units.h"

#include <algorithm>
#include <array>
#include <map>
#include <unordered_map>

#include "moe/base/str.h"
#include "moe/base/utf8.h"
#include "moe/text/unicode.h"

namespace moe {
namespace {

bool is_wide(char32_t c, uint16_t flags) {  // written without spaces, so each is a unit
  return flags & kHan || (c >= 0x3000 && c <= 0x303F) || (c >= 0xFF01 && c <= 0xFF0F) ||
         (c >= 0xFF1A && c <= 0xFF1F);
}

/// A chunk cut into what stands before, in and behind it.
struct Cut {
  std::string_view lead, core, trail;
};
Cut cut_punctuation(std::string_view chunk) {
  const uint16_t* flags = code_point_flags();
  const auto is_word = [&](char32_t c) {
    return flags[c] & (kLetter | kMark | kNumber) || c == '_' || c == kInvalidByte;
  };
  size_t begin = 0, end = chunk.size();
  for (; begin < end; begin += code_point_at(chunk, begin).size)
    if (is_word(code_point_at(chunk, begin).value)) break;
  for (; end > begin; end -= code_point_before(chunk, end).size)
    if (is_word(code_point_before(chunk, end).value)) break;
  return {chunk.substr(0, begin), chunk.substr(begin, end - begin), chunk.substr(end)};
}

/// mixed: it changes case within, "pYlS".
enum class Case { lower, upper, mixed };
Case case_of(std::string_view word) {
  const uint16_t* flags = code_point_flags();
  int64_t upper = 0, lower = 0;
  bool first = true, first_upper = false;
  for (size_t i = 0; i < word.size();) {
    const CodePoint c = code_point_at(word, i);
    if (flags[c.value] & kUpperCase) {
      ++upper;
      first_upper = first_upper || first;
    } else if (flags[c.value] & kLowerCase) {
      ++lower;
    }
    if (flags[c.value] & kLetter) first = false;
    i += c.size;
  }
  if (upper > 0 && lower > 0 && !(first_upper && upper == 1)) return Case::mixed;
  return upper > 0 ? Case::upper : Case::lower;
}

}  // namespace

void for_each_chunk(std::string_view text, const std::function<void(size_t, size_t)>& f) {
  const uint16_t* flags = code_point_flags();
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = code_point_at(text, i);
    const size_t next = i + c.size;
    const bool space = flags[c.value] & kWhiteSpace;
    if (space || is_wide(c.value, flags[c.value])) {
      if (begin < i) f(begin, i);
      if (!space) f(i, next);
      begin = next;
    }
    i = next;
  }
  if (begin < text.size()) f(begin, text.size());
}

std::string folded(std::string_view word) {
  std::string out;
  for (const char c : to_lower(word))
    if (c < '0' || c > '9')
      out += c;
    else if (!ends_with(out, "0"))
      out += '0';
  return out;
}

TextUnits cut_into_units(const std::vector<std::string_view>& parts) {
  // Different chunks first: there are far fewer of them.
  std::unordered_map<std::string_view, int32_t> chunk_ids;
  std::vector<std::string_view> chunks;
  std::vector<int64_t> counts;
  std::vector<int32_t> all;
  std::vector<size_t> begins;
  for (const std::string_view part : parts) {
    begins.push_back(all.size());
    for_each_chunk(part, [&](size_t begin, size_t end) {
      const std::string_view chunk = part.substr(begin, end - begin);
      const auto [it, is_new] = chunk_ids.try_emplace(chunk, int32_t(chunks.size()));
      if (is_new) {
        chunks.push_back(chunk);
        counts.push_back(0);
      }
      ++counts[size_t(it->second)];
      all.push_back(it->second);
    });
  }
  begins.push_back(all.size());
  // Punctuation that stands around many different words is a unit of its own; other is a part of
  // its word.
  constexpr size_t kMany = 8;
  std::map<std::string_view, std::vector<std::string_view>> leads, trails;
  const auto note = [](auto& of, std::string_view affix, std::string_view core) {
    if (affix.empty()) return;
    auto& cores = of[affix];
    if (cores.size() < kMany && std::find(cores.begin(), cores.end(), core) == cores.end())
      cores.push_back(core);
  };
  std::vector<Cut> cuts;
  for (const std::string_view chunk : chunks) {
    cuts.push_back(cut_punctuation(chunk));
    if (cuts.back().core.empty()) continue;
    note(leads, cuts.back().lead, cuts.back().core);
    note(trails, cuts.back().trail, cuts.back().core);
  }
  TextUnits out;
  std::unordered_map<std::string, Unit> unit_ids;
  std::vector<std::array<Unit, 3>> units_of(chunks.size());
  for (size_t i = 0; i < chunks.size(); ++i) {
    const auto [lead, core, trail] = cuts[i];
    const bool cut_lead = !core.empty() && !lead.empty() && leads[lead].size() >= kMany;
    const bool cut_trail = !core.empty() && !trail.empty() && trails[trail].size() >= kMany;
    std::string_view word = chunks[i];
    if (cut_lead) word.remove_prefix(lead.size());
    if (cut_trail) word.remove_suffix(trail.size());
    const auto unit_of = [&](std::string_view text) {
      std::string name = folded(text);
      const auto [it, is_new] = unit_ids.try_emplace(name, Unit(out.names.size()));
      if (is_new) {
        out.names.push_back(std::move(name));
        out.n_written.push_back(0);
        out.n_upper.push_back(0);
        out.n_mixed.push_back(0);
      }
      return it->second;
    };
    const Unit unit = unit_of(word);
    out.n_written[size_t(unit)] += counts[i];
    const Case written = case_of(word);
    if (written != Case::lower) out.n_upper[size_t(unit)] += counts[i];
    if (written == Case::mixed) out.n_mixed[size_t(unit)] += counts[i];
    units_of[i] = {cut_lead ? unit_of(lead) : -1, unit, cut_trail ? unit_of(trail) : -1};
  }
  for (size_t p = 0; p < parts.size(); ++p) {
    out.begins.push_back(out.all.size());
    for (size_t i = begins[p]; i < begins[p + 1]; ++i)
      for (const Unit unit : units_of[size_t(all[i])])
        if (unit >= 0) out.all.push_back(unit);
  }
  out.begins.push_back(out.all.size());
  return out;
}
}  // namespace moe
