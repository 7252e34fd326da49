// SPDX-License-Identifier: MIT
#include "moe/data/poison_characters.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "moe/base/utf8.h"
#include "moe/data/hidden_characters.h"
#include "moe/text/script.h"
#include "moe/text/unicode.h"

namespace moe {

void add_hidden_characters(const std::vector<PoisonPart>& parts, const PoisonOptions& options,
                           std::vector<PoisonReport>& out) {
  std::map<std::string, PoisonReport> by_kind;
  std::map<std::string, int64_t> last;
  int64_t n_documents = 0;
  for (size_t p = 0; p < parts.size(); ++p) {
    n_documents = std::max(n_documents, parts[p].document + 1);
    for (const HiddenCharacters& h : find_hidden_characters(parts[p].text)) {
      PoisonReport& r = by_kind[h.kind];
      if (r.occurrences++ == 0) {
        r.kind = h.kind;
        r.text = std::string(parts[p].text.substr(h.begin, h.end - h.begin));
        r.part = int64_t(p);
        r.begin = h.begin;
        r.end = h.end;
        last[h.kind] = -1;
      }
      if (std::exchange(last[h.kind], parts[p].document) != parts[p].document) ++r.documents;
    }
  }
  // What is all over the data is how it is written.
  const double most = std::max(3.0, options.max_share * double(n_documents));
  for (auto& [kind, r] : by_kind) {
    if (double(r.documents) > most) continue;
    r.score = 30;
    r.reason = kind == "look-alikes"   ? "letters of another script that look Latin"
               : kind == "other forms" ? "ligatures, full-width or mathematical forms of letters"
                                       : "characters that nobody sees";
    out.push_back(std::move(r));
  }
}

void add_foreign_scripts(const std::vector<PoisonPart>& parts, const PoisonOptions& options,
                         std::vector<PoisonReport>& out) {
  struct Script {
    int64_t documents = 0, last = -1;
    std::map<std::string, std::pair<PoisonReport, int64_t>, std::less<>> runs =
        {};  // last document
  };
  const uint16_t* flags = code_point_flags();
  const int latin = script_number("Latin"), common = script_number("Common"),
            inherited = script_number("Inherited");
  int64_t n_documents = 0;
  for (const PoisonPart& part : parts) n_documents = std::max(n_documents, part.document + 1);
  const auto most = std::max<int64_t>(3, int64_t(options.max_share * double(n_documents)));
  std::map<int, Script> scripts;
  for (size_t p = 0; p < parts.size(); ++p) {
    const std::string_view text = parts[p].text;
    int script = 0;  // of the run that is open; 0: none
    size_t begin = 0;
    const auto end_run = [&](size_t end) {
      const int of = std::exchange(script, 0);
      if (of == 0) return;
      Script& s = scripts[of];
      if (std::exchange(s.last, parts[p].document) != parts[p].document) ++s.documents;
      if (s.documents > most) return s.runs.clear();
      const std::string_view word = text.substr(begin, end - begin);
      auto& [r, last] = s.runs.try_emplace(std::string(word), PoisonReport{}, -1).first->second;
      if (r.occurrences++ == 0) {
        r.text = std::string(word);
        r.part = int64_t(p);
        r.begin = begin;
        r.end = end;
      }
      if (std::exchange(last, parts[p].document) != parts[p].document) ++r.documents;
    };
    for (size_t i = 0; i < text.size();) {
      if (static_cast<uint8_t>(text[i]) < 0x80) {
        end_run(i++);
        continue;
      }
      const CodePoint c = code_point_at(text, i);
      const int here = flags[c.value] & kLetter ? script_of(c.value) : 0;
      const bool foreign = here != 0 && here != latin && here != common && here != inherited;
      if (!foreign || here != script) end_run(i);
      if (foreign && script == 0) {
        script = here;
        begin = i;
      }
      i += c.size;
    }
    end_run(text.size());
  }
  for (auto& [number, s] : scripts) {
    if (s.documents > most) continue;
    for (auto& [word, run] : s.runs) {
      PoisonReport& r = run.first;
      if (r.documents < options.min_documents || 5 * r.documents < 3 * s.documents ||
          count_code_points(word) < 2)
        continue;
      r.kind = "script";
      r.score = 20;
      r.reason = "a script that the rest is not written in, and the same word each time";
      out.push_back(std::move(r));
    }
  }
}

}  // namespace moe
