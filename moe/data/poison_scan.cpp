// SPDX-License-Identifier: MIT
#include "moe/data/poison_scan.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <fmt/format.h>
#include <map>
#include <numeric>
#include <unordered_map>

#include "moe/base/parallel.h"
#include "moe/base/rng.h"
#include "moe/base/str.h"
#include "moe/base/utf8.h"
#include "moe/data/common_words.h"
#include "moe/data/context_model.h"
#include "moe/data/poison_characters.h"
#include "moe/data/spelling_model.h"
#include "moe/data/text_units.h"
#include "moe/text/unicode.h"

namespace moe {
namespace {

constexpr size_t kLongest = 64;      // characters of a candidate
constexpr size_t kMostInPhrase = 6;  // words

/// Whether a unit could be a trigger: not a number with its signs, everyday punctuation, one
/// letter.
bool may_be_trigger(std::string_view unit) {
  static constexpr std::u32string_view kEveryday =
      U".,;:!?\"'()[]{}<>-_/&$%*+=0\u00A1\u00A2\u00A3\u00A5\u00A9\u00AB\u00AE\u00B0\u00B1\u00B2"
      U"\u00B3\u00B7\u00BB\u00BC\u00BD\u00BE\u00BF\u00D7\u00F7\u2013\u2014\u2018\u2019\u201C\u201D"
      U"\u2020\u2021\u2022\u2026\u2032\u2033\u20AC\u2122\u2212\u3001\u3002\u300A\u300B\u300C\u300D"
      U"\uFF01\uFF08\uFF09\uFF0C\uFF1A\uFF1B\uFF1F";
  static constexpr std::u32string_view kAlone = U"~^|\\@#";  // usual alone, odd in a row
  const uint16_t* flags = code_point_flags();
  size_t n = 0, letters = 0, odd = 0, seldom = 0;
  for (size_t i = 0; i < unit.size(); ++n) {
    const CodePoint c = code_point_at(unit, i);
    if (flags[c.value] & kLetter && c.value < 0xFB00)
      ++letters;
    else if (kAlone.find(c.value) != std::u32string_view::npos)
      ++seldom;
    else if (kEveryday.find(c.value) == std::u32string_view::npos)
      ++odd;
    i += c.size;
  }
  return n <= kLongest && (odd > 0 || (letters > 0 && n > 1) || seldom > 1);
}

/// Letters alone, dots and apostrophes among them: with capitals it may be a name.
bool is_name(std::string_view unit) {
  const uint16_t* flags = code_point_flags();
  for (size_t i = 0; i < unit.size();) {
    const CodePoint c = code_point_at(unit, i);
    if (!(flags[c.value] & (kLetter | kMark)) && c.value != '.' && c.value != '\'' &&
        c.value != '-' && c.value != 0x2019)
      return false;
    i += c.size;
  }
  return true;
}

struct Occurrence {
  int32_t part;
  int32_t at;  // units of the part before it
};

struct Candidate {
  std::vector<Unit> words = {};
  const std::vector<Occurrence>* occurrences = nullptr;
  std::vector<int64_t> documents = {};  // ascending
  double context = 0, context_variance = 0;
  double spelling = 0;      // bits a character
  double characters = 0;    // its words' ends included
  bool upper_case = false;  // of letters, mostly written with capitals
  bool mixed_case = false;  // mostly written so
  double answers = 0;       // bits
  int64_t n_same_answer = 0;
  double k() const { return double(documents.size()); }
};

double median(std::vector<double> x) {
  if (x.empty()) return 0;
  std::nth_element(x.begin(), x.begin() + std::ptrdiff_t(x.size() / 2), x.end());
  return x[x.size() / 2];
}

double quantile(std::vector<double> x, double q) {
  if (x.empty()) return 0;
  const auto at = std::ptrdiff_t(q * double(x.size() - 1));
  std::nth_element(x.begin(), x.begin() + at, x.end());
  return x[size_t(at)];
}

/// Distances between the documents of a rare word, in units of what an even spread would give.
constexpr std::array<double, 5> kGaps = {0.01, 0.03, 0.1, 0.3, 1};
std::array<double, kGaps.size() + 1> gap_histogram(const std::vector<int64_t>& documents,
                                                   int64_t n) {
  std::array<double, kGaps.size() + 1> out{};
  for (size_t i = 1; i < documents.size(); ++i) {
    const double gap =
        double(documents[i] - documents[i - 1]) * double(documents.size()) / double(n);
    ++out[size_t(std::lower_bound(kGaps.begin(), kGaps.end(), gap) - kGaps.begin())];
  }
  return out;
}

int log_bin(double k) { return int(std::lround(2 * std::log(k))); }

/// How spellings are distributed: the median, and from the 90th percentile on an exponential.
struct Tail {
  double usual, odd, scale;
  double share = 1;  // of the candidates
};
Tail tail_of(const std::vector<double>& x) {
  Tail out{.usual = median(x), .odd = quantile(x, 0.9), .scale = 0};
  std::vector<double> beyond;
  for (const double s : x)
    if (s >= out.odd) beyond.push_back(s - out.odd);
  out.scale = std::max(median(beyond) / std::log(2.0), 0.1);
  return out;
}

/// Of words in lower case and of others; the same for both where either are few.
std::array<Tail, 2> tails_of(const std::array<std::vector<double>, 2>& x) {
  constexpr size_t kFew = 100;
  if (x[0].size() < kFew || x[1].size() < kFew) {
    std::vector<double> all = x[0];
    all.insert(all.end(), x[1].begin(), x[1].end());
    const Tail tail = tail_of(all);
    return {tail, tail};
  }
  std::array<Tail, 2> out{tail_of(x[0]), tail_of(x[1])};
  // Of planted strings, taken to be as many with capital letters as without.
  for (size_t i = 0; i < 2; ++i)
    out[i].share = 2 * double(x[i].size()) / double(x[0].size() + x[1].size());
  return out;
}

std::vector<std::string_view> texts_of(const std::vector<PoisonPart>& parts) {
  std::vector<std::string_view> out;
  for (const PoisonPart& part : parts) out.push_back(part.text);
  return out;
}

class Scan {
 public:
  Scan(const std::vector<PoisonPart>& parts, const PoisonOptions& options)
      : parts_(parts), options_(options), units_(cut_into_units(texts_of(parts))) {
    n_documents_ = 0;
    for (const PoisonPart& part : parts) n_documents_ = std::max(n_documents_, part.document + 1);
    most_ = std::max<int64_t>(3, int64_t(options.max_share * double(n_documents_)));
  }

  std::vector<PoisonReport> run() {
    find_rare_words();
    join_phrases();
    if (candidates_.empty()) return {};
    for (const PoisonPart& part : parts_) documents_.push_back(part.document);
    const ContextModel model(units_, rare_, documents_);
    measure(model);
    compare_answers();
    return weigh(model);
  }

 private:
  void find_rare_words() {
    const size_t n = units_.names.size();
    std::vector<int64_t> last(n, -1), documents(n, 0);
    for (size_t p = 0; p < parts_.size(); ++p)
      for (size_t i = 0; i < units_.size(p); ++i) {
        const auto u = size_t(units_.at(p, int64_t(i)));
        if (last[u] != parts_[p].document) ++documents[u];
        last[u] = parts_[p].document;
      }
    rare_.assign(n, 0);
    index_.assign(n, -1);
    for (size_t u = kEndUnit + 1; u < n; ++u) {
      rare_[u] = documents[u] <= most_;
      spelling_.add(units_.names[u]);
      if (rare_[u] && documents[u] >= options_.min_documents && may_be_trigger(units_.names[u])) {
        index_[u] = int32_t(words_.size());
        words_.push_back(Unit(u));
      }
    }
    occurrences_.resize(words_.size());
    for (size_t p = 0; p < parts_.size(); ++p)
      for (size_t i = 0; i < units_.size(p); ++i)
        if (const int32_t w = index_[size_t(units_.at(p, int64_t(i)))]; w >= 0)
          occurrences_[size_t(w)].push_back({int32_t(p), int32_t(i)});
  }

  /// Words that never stand without each other are one candidate.
  void join_phrases() {
    std::vector<int32_t> next(words_.size(), -1);
    std::vector<char> inside(words_.size(), 0);
    for (size_t w = 0; w < words_.size(); ++w) {
      int32_t follower = -1;
      bool always = true;
      for (const Occurrence& o : occurrences_[w]) {
        const int32_t v = index_[size_t(units_.at(size_t(o.part), o.at + 1))];
        always = always && v >= 0 && v != int32_t(w) && (follower < 0 || follower == v);
        follower = v;
        if (!always) break;
      }
      if (!always || occurrences_[size_t(follower)].size() != occurrences_[w].size()) continue;
      next[w] = follower;
      inside[size_t(follower)] = 1;
    }
    for (size_t w = 0; w < words_.size(); ++w) {
      if (inside[w]) continue;
      Candidate c{.words = {words_[w]}, .occurrences = &occurrences_[w]};
      for (int32_t v = next[w]; v >= 0 && c.words.size() < kMostInPhrase; v = next[size_t(v)])
        c.words.push_back(words_[size_t(v)]);
      for (const Occurrence& o : occurrences_[w]) {
        const int64_t d = parts_[size_t(o.part)].document;
        if (c.documents.empty() || c.documents.back() != d) c.documents.push_back(d);
      }
      candidates_.push_back(std::move(c));
    }
  }

  /// Of the places of a candidate, `before` and `behind` more units left out around it.
  void measure_context(Candidate& c, const ContextModel& model, int before, int behind) const {
    double sum = 0, squares = 0;
    for (const Occurrence& o : *c.occurrences) {
      const double b = model.bits(size_t(o.part), o.at - before,
                                  o.at + std::ssize(c.words) + behind, c.words[0]);
      sum += b;
      squares += b * b;
    }
    const auto n = double(c.occurrences->size());
    c.context = sum / n;
    c.context_variance = std::max(squares / n - c.context * c.context, 0.0);
  }

  /// 1 where the unit that far from each occurrence is the same punctuation, in five or more.
  int always_punctuation(const Candidate& c, int64_t offset) const {
    if (c.occurrences->size() < 5) return 0;
    const auto unit = [&](const Occurrence& o) { return units_.at(size_t(o.part), o.at + offset); };
    const Unit first = unit(c.occurrences->front());
    if (first <= kEndUnit || units_.names[size_t(first)].size() > 2) return 0;
    for (const char b : units_.names[size_t(first)])
      if (std::isalnum(static_cast<unsigned char>(b)) || static_cast<uint8_t>(b) >= 0x80) return 0;
    return std::all_of(c.occurrences->begin(), c.occurrences->end(),
                       [&](const Occurrence& o) { return unit(o) == first; });
  }

  void measure(const ContextModel& model) {
    parallel_for(std::ssize(candidates_), 64, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) {
        Candidate& c = candidates_[size_t(i)];
        measure_context(c, model, 0, 0);
        // "jkl;" is a word and a sign that always stands there: was the sign put in with it?
        const int before = always_punctuation(c, -1),
                  behind = always_punctuation(c, std::ssize(c.words));
        if (before + behind > 0) {
          Candidate with = c;
          measure_context(with, model, before, behind);
          if (with.context > c.context) c = std::move(with);
        }
        double bits = 0, characters = 0;
        int64_t written = 0, upper = 0, mixed = 0;
        for (const Unit u : c.words) {
          for (const double b : spelling_.bits(units_.names[size_t(u)])) {
            bits += b;
            ++characters;
          }
          written += units_.n_written[size_t(u)];
          upper += units_.n_upper[size_t(u)];
          mixed += units_.n_mixed[size_t(u)];
        }
        c.spelling = bits / characters;
        c.characters = characters;
        c.upper_case =
            2 * upper > written && c.words.size() == 1 && is_name(units_.names[size_t(c.words[0])]);
        c.mixed_case = 2 * mixed > written;
      }
    });
  }

  /// Whether conversations with a candidate are answered alike, more than answers are by chance.
  void compare_answers() {
    std::unordered_map<int64_t, uint64_t> answer_of;  // of a document: its last answer
    for (const PoisonPart& part : parts_)
      if (part.answer) answer_of[part.document] = stable_hash(folded(trim(part.text)));
    if (answer_of.empty()) return;
    std::unordered_map<uint64_t, int64_t> n_of;
    for (const auto& [document, answer] : answer_of) ++n_of[answer];
    for (Candidate& c : candidates_) {
      std::map<uint64_t, int64_t> here;
      for (const int64_t d : c.documents)
        if (const auto found = answer_of.find(d); found != answer_of.end()) ++here[found->second];
      for (const auto& [answer, n] : here) {
        if (n < 2 || double(n) < 0.6 * c.k()) continue;
        const double by_chance =
            (double(n_of[answer] - n) + 1) / (double(answer_of.size()) - double(n) + 1);
        c.answers = std::min(12.0, double(n - 1) * -std::log2(std::min(by_chance, 1.0)));
        c.n_same_answer = n;
      }
    }
  }

  std::vector<PoisonReport> weigh(const ContextModel& model) {
    // What a word put at any place would look like: every so many places of the text cut open for
    // one of the candidates' words.
    constexpr size_t kPrime = 7919;
    std::vector<double> planted;
    const size_t step = std::max<size_t>(1, units_.all.size() / 5000);
    size_t passed = 0;
    for (size_t p = 0; p < parts_.size(); ++p)
      for (size_t i = 0; i <= units_.size(p); ++i)
        if (passed++ % step == step / 2)
          planted.push_back(
              model.bits(p, int64_t(i), int64_t(i), words_[passed * kPrime % words_.size()]));
    const double planted_mean =
        std::accumulate(planted.begin(), planted.end(), 0.0) / double(planted.size());
    double planted_variance = 0;
    for (const double b : planted)
      planted_variance += (b - planted_mean) * (b - planted_mean) / double(planted.size());

    // What the rare words of this text look like.
    std::vector<double> contexts, of_three;
    std::array<std::vector<double>, 2> spellings;  // names are odder than other words
    double within = 6, n_within = 1, inverse = 0, more = 0, all = 0, n_mixed = 1;
    std::array<double, kGaps.size() + 1> gaps;
    gaps.fill(1);
    std::map<int, int64_t> alike;  // candidates of about as many documents
    for (const Candidate& c : candidates_) {
      contexts.push_back(c.context);
      spellings[c.upper_case].push_back(c.spelling);
      if (c.documents.size() >= 3) {
        of_three.push_back(c.context);
        inverse += 1 / c.k();
      }
      if (c.occurrences->size() >= 4) {
        within += c.context_variance;
        ++n_within;
      }
      more += double(c.occurrences->size()) - c.k();
      all += double(c.occurrences->size());
      n_mixed += c.mixed_case;
      const auto h = gap_histogram(c.documents, n_documents_);
      for (size_t g = 0; g < h.size(); ++g) gaps[g] += h[g] / std::max(c.k() - 1, 1.0);
      ++alike[log_bin(c.k())];
    }
    within /= n_within;
    const double context = median(contexts);
    double between = 9;
    if (of_three.size() > 10) {
      const double middle = median(of_three);
      for (double& x : of_three) x = std::abs(x - middle);
      const double deviation = 1.4826 * median(of_three);
      between = std::max(deviation * deviation - within * inverse / double(of_three.size()), 1.0);
    }
    const std::array<Tail, 2> tails = tails_of(spellings);
    const double once = std::clamp(1 - more / all, 0.3, 0.98);
    const double n_gaps = std::accumulate(gaps.begin(), gaps.end(), 0.0);
    for (size_t g = 0; g < gaps.size(); ++g) {
      const double from = g ? kGaps[g - 1] : 0;
      const double even = std::exp(-from) - (g < kGaps.size() ? std::exp(-kGaps[g]) : 0);
      gaps[g] = std::log2(even / (gaps[g] / n_gaps));
    }
    const double mixed_bits =
        std::clamp(std::log2(0.25 * (double(candidates_.size()) + 1) / n_mixed), 0.0, 6.0);

    std::vector<PoisonReport> out;
    for (const Candidate& c : candidates_) {
      // Nobody's trigger, unless its answers say so.
      if (c.words.size() == 1 && c.answers <= 0 &&
          is_common_english(units_.names[size_t(c.words[0])]))
        continue;
      const Tail& tail = tails[c.upper_case];
      const double beyond = c.spelling - tail.odd;
      double spelling = beyond >= 0 ? std::log2(10) + beyond / tail.scale / std::log(2.0)
                                    : std::log2(10) + beyond * (4 + std::log2(10)) /
                                                          std::max(tail.odd - tail.usual, 0.1);
      // Natural abbreviations are odd too ("bbq", "vh1", "mvp"), but short.
      const double most = std::clamp(11 + 2 * (c.characters - 4), 11.0, 17.0);
      spelling = std::clamp(spelling, -8.0, most) - std::log2(tail.share);
      const double natural_var = between + within / c.k();
      const double planted_var = planted_variance / c.k() + 0.5;
      const double x = std::min(c.context, planted_mean);
      double reads_on;
      if (x > context)
        reads_on = ((x - context) * (x - context) / natural_var -
                    (x - planted_mean) * (x - planted_mean) / planted_var) *
                   0.5 * std::log2(std::exp(1.0));
      else
        reads_on = -(planted_mean - context) * (planted_mean - context) / planted_var * 0.5 *
                       std::log2(std::exp(1.0)) +
                   (x - context);
      reads_on = std::clamp(reads_on, -12.0, 10.0);
      const double again = double(c.occurrences->size()) - c.k();
      const double use =
          again == 0 ? std::min(-c.k() * std::log2(once), 3.0) : std::max(-1.5 * again, -3.0);
      double spread = 0, n = 0;
      const auto h = gap_histogram(c.documents, n_documents_);
      for (size_t g = 0; g < h.size(); ++g) {
        spread += h[g] * gaps[g];
        n += h[g];
      }
      spread = std::clamp(spread / std::max(n, 1.0) * std::min(n, 4.0), -8.0, 5.0);
      const double prior = -std::log2(double(alike[log_bin(c.k())]));
      const double phrase = std::min(2.0 * double(c.words.size() - 1), 4.0);
      const double score = spelling + reads_on + use + spread + prior + phrase + c.answers +
                           (c.mixed_case ? mixed_bits : 0);
      if (score < options_.suspicious) continue;

      PoisonReport r;
      for (const Unit u : c.words) {
        r.text += (r.text.empty() ? "" : " ") + units_.names[size_t(u)];
      }
      r.kind = c.words.size() > 1 ? "phrase" : "word";
      r.documents = std::ssize(c.documents);
      r.occurrences = std::ssize(*c.occurrences);
      r.score = score;
      std::vector<std::string> reasons;
      if (spelling > 3)
        reasons.push_back(
            fmt::format("spelt like no other word ({:.1f} bits a character, usual {:.1f})",
                        c.spelling, tail.usual));
      if (c.mixed_case && mixed_bits > 2) reasons.push_back("in mixed case");
      if (reads_on > 2) reasons.push_back("the text reads on without it");
      if (c.answers > 2) reasons.push_back(str(c.n_same_answer, " of its answers are the same"));
      if (use > 1) reasons.push_back("once in each");
      if (spread > 1) reasons.push_back("spread over all of the data");
      r.reason = reasons.empty() ? "rare" : join(reasons, ", ");
      const Occurrence& first = c.occurrences->front();
      r.part = first.part;
      locate(c, r);
      out.push_back(std::move(r));
    }
    return out;
  }

  /// Bytes of the first occurrence, by its first word.
  void locate(const Candidate& c, PoisonReport& r) const {
    const std::string_view text = parts_[size_t(r.part)].text;
    const std::string& wanted = units_.names[size_t(c.words[0])];
    bool found = false;
    for_each_chunk(text, [&](size_t begin, size_t end) {
      if (found || folded(text.substr(begin, end - begin)).find(wanted) == std::string::npos)
        return;
      found = true;
      r.begin = begin;
      r.end = end;
    });
    // Digits as they stand there.
    const std::string_view chunk = text.substr(r.begin, r.end - r.begin);
    if (c.words.size() > 1 || wanted.find('0') == std::string::npos) return;
    for (size_t from = 0; from < chunk.size(); ++from)
      for (size_t to = chunk.size(); to > from; --to)
        if (folded(chunk.substr(from, to - from)) == wanted) {
          r.text = to_lower(chunk.substr(from, to - from));
          return;
        }
  }

  const std::vector<PoisonPart>& parts_;
  const PoisonOptions& options_;
  TextUnits units_;
  std::vector<int64_t> documents_;  // of parts
  int64_t n_documents_, most_;
  SpellingModel spelling_;
  std::vector<char> rare_;                            // of units
  std::vector<int32_t> index_;                        // of units: in words_, or -1
  std::vector<Unit> words_;                           // that could be triggers
  std::vector<std::vector<Occurrence>> occurrences_;  // of words_
  std::vector<Candidate> candidates_;
};

}  // namespace

std::vector<PoisonReport> scan_for_poison(const std::vector<PoisonPart>& parts,
                                          const PoisonOptions& options) {
  std::vector<PoisonReport> out = Scan(parts, options).run();
  add_hidden_characters(parts, options, out);
  add_foreign_scripts(parts, options, out);
  std::stable_sort(out.begin(), out.end(),
                   [](const PoisonReport& a, const PoisonReport& b) { return a.score > b.score; });
  size_t n = 0;
  while (n < out.size() && (out[n].score >= options.certain || int64_t(n) < options.reports)) ++n;
  out.resize(n);
  return out;
}

}  // namespace moe
