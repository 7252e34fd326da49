// SPDX-License-Identifier: MIT
#include "moe/data/context_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "moe/base/parallel.h"

namespace moe {
namespace {

constexpr int64_t kCounted = 4'000'000;  // units
constexpr int64_t kExamples = 60'000;    // of each kind
// Symbols: the ends of a part, the classes of rare words, then the other units.
constexpr uint32_t kFirstClass = 2, kClasses = 3;
constexpr float kYes = 4;  // numbers are bits; what is true or false weighs as much as four

uint64_t key_of(uint64_t a, uint64_t b) { return a << 32 | b; }
uint64_t key_of(uint64_t a, uint64_t b, uint64_t c) {
  uint64_t x = (a * 0x9E3779B97F4A7C15u) ^ (b * 0xC2B2AE3D27D4EB4Fu) ^ (c * 0x165667B19E3779F9u);
  x ^= x >> 31;
  return x * 0xD6E8FEB86659FD93u;
}

/// Of a rare word: with digits, with a capital letter, or neither.
uint32_t class_of(const TextUnits& units, size_t u) {
  if (units.names[u].find('0') != std::string::npos) return kFirstClass + 2;
  return 2 * units.n_upper[u] > units.n_written[u] ? kFirstClass + 1 : kFirstClass;
}

bool is_class(uint32_t symbol) { return symbol >= kFirstClass && symbol < kFirstClass + kClasses; }

/// The last two bytes of a word, apart from all symbols.
uint64_t ending_of(const std::string& word) {
  constexpr uint64_t kEnding = 1u << 20;
  if (word.size() < 2) return kEnding;
  return kEnding | uint64_t{static_cast<uint8_t>(word.back())} << 8 |
         static_cast<uint8_t>(word[word.size() - 2]);
}

float bits_between(double p, double q) {
  return std::clamp(static_cast<float>(std::log2(p / q)), -12.0f, 12.0f);
}

/// n of `all`, as if `weight` more had been seen with the share p.
double smooth(double n, double all, double p, double weight) {
  return (n + weight * p) / (all + weight);
}

}  // namespace

ContextModel::ContextModel(const TextUnits& units, const std::vector<char>& rare,
                           const std::vector<int64_t>& documents)
    : units_(units),
      documents_(documents),
      every_(1 + units.all.size() / size_t(kCounted)),
      symbols_(units.names.size() + kClasses),
      leaders_(units.names.size() + kClasses) {
  symbol_of_.reserve(units.names.size());
  for (size_t u = 0; u < units.names.size(); ++u)
    symbol_of_.push_back(u <= kEndUnit ? Symbol(u)
                         : rare[u]     ? class_of(units, u)
                                       : Symbol(u) + kClasses);
  count();
  const std::vector<Example> all = examples();
  parallel_for(int64_t(kFolds), 1, [&](int64_t from, int64_t to) {
    for (int64_t fold = from; fold < to; ++fold) weights_[size_t(fold)] = learn(all, size_t(fold));
  });
}

void ContextModel::count() {
  for (size_t p = 0; p < units_.n_parts(); p += every_) {
    Symbol a = kBeginUnit, b = kBeginUnit;
    ++symbols_[b].n;
    for (int64_t i = 0; i <= int64_t(units_.size(p)); ++i) {
      const Symbol c = symbol(p, i);
      ++symbols_[c].n;
      ++n_;
      if (pairs_[key_of(b, c)].n++ == 0) {
        ++symbols_[b].followers;
        ++leaders_[c];
      }
      if (triples_[key_of(a, b, c)]++ == 0) ++pairs_[key_of(a, b)].followers;
      a = b;
      b = c;
    }
  }
}

ContextModel::Count ContextModel::pair(Symbol a, Symbol b) const {
  const auto found = pairs_.find(key_of(a, b));
  return found == pairs_.end() ? Count{} : found->second;
}

double ContextModel::triple(Symbol a, Symbol b, Symbol c) const {
  const auto found = triples_.find(key_of(a, b, c));
  return found == triples_.end() ? 0 : found->second;
}

ContextModel::Place ContextModel::look_at(size_t part, int64_t from, int64_t to, Unit word) const {
  const Symbol rare = symbol_of_[size_t(word)];
  const Symbol l1 = symbol(part, from - 1), l2 = symbol(part, from - 2), r1 = symbol(part, to),
               r2 = symbol(part, std::min(to + 1, int64_t(units_.size(part))));
  // What the place itself added to the counts: its neighbours as a pair, or its word between them.
  const bool counted = part % every_ == 0;
  const double pair_own = counted && from == to ? 1 : 0,
               word_own = counted && to == from + 1 ? 1 : 0;
  const auto less = [](double n, double by) { return std::max(n - by, 0.0); };

  // The text read on without the word, with absolute discounting (Ney et al. 1994).
  constexpr double kDiscount = 0.75;
  const auto usual = [&](Symbol c) {
    return std::max(double(leaders_[c]), 0.5) / double(pairs_.size() + 1);
  };
  const auto given_one = [&](Symbol b, Symbol c, double own) {
    const double n = less(less(pair(b, c).n, own), kDiscount);
    return (n + (kDiscount * symbols_[b].followers + 0.5) * usual(c)) /
           (less(symbols_[b].n, own) + 0.5);
  };
  const auto given_two = [&](Symbol a, Symbol b, Symbol c, double own, double shorter) {
    const Count ab = pair(a, b);
    const double n = less(less(triple(a, b, c), own), kDiscount),
                 left_over = kDiscount * ab.followers;
    return (n + (left_over + 0.5) * shorter) / (std::max(less(ab.n, own), left_over) + 0.5);
  };
  const double r1_on = given_one(l1, r1, pair_own), r2_on = given_one(r1, r2, 0);

  // A rare word of this class between them.
  const double share = double(symbols_[rare].n + 1) / double(n_ + 2);
  const double after_l1 = less(pair(l1, rare).n, word_own),
               before_r1 = less(pair(rare, r1).n, word_own);
  const double behind = smooth(after_l1, symbols_[l1].n, share, 3),
               before = smooth(before_r1, symbols_[r1].n, share, 3),
               then = smooth(before_r1, symbols_[rare].n, usual(r1), 3);

  Place out;
  out.numbers = {
      kYes,
      bits_between(r1_on, usual(r1)),
      bits_between(given_two(l2, l1, r1, pair_own, r1_on), r1_on),
      bits_between(given_two(l1, r1, r2, pair_own, r2_on), r2_on),
      bits_between(behind, share),
      bits_between(before, share),
      bits_between(
          smooth(less(triple(l2, l1, rare), word_own), less(pair(l2, l1).n, word_own), behind, 3),
          behind),
      bits_between(
          smooth(less(triple(rare, r1, r2), word_own), less(pair(r1, r2).n, word_own), before, 3),
          before),
      bits_between(smooth(less(triple(l1, rare, r1), word_own), after_l1, then, 3), then),
      less(pair(l1, r1).n, pair_own) > 0 ? kYes : 0,
      less(triple(l2, l1, r1), pair_own) > 0 ? kYes : 0,
      less(triple(l1, r1, r2), pair_own) > 0 ? kYes : 0,
      l1 == kBeginUnit ? kYes : 0,
      r1 == kEndUnit ? kYes : 0,
      is_class(l1) ? kYes : 0,
      is_class(r1) ? kYes : 0,
  };
  for (float& x : out.numbers) x /= kYes;

  const auto ending_at = [&](int64_t i) {
    return ending_of(units_.names[size_t(units_.at(part, i))]);
  };
  const uint64_t ending = ending_of(units_.names[size_t(word)]), l_ending = ending_at(from - 1),
                 r_ending = ending_at(to);
  const std::array<uint64_t, kMarks> marks = {l1,
                                              r1,
                                              l2,
                                              r2,
                                              ending,
                                              key_of(rare, l1),
                                              key_of(rare, r1),
                                              key_of(ending, l1),
                                              key_of(ending, r1),
                                              key_of(rare, l_ending),
                                              key_of(rare, r_ending),
                                              key_of(ending, l_ending),
                                              key_of(ending, r_ending),
                                              key_of(l_ending, r_ending)};
  for (size_t i = 0; i < kMarks; ++i)
    out.marks[i] = static_cast<uint32_t>(key_of(i + 1, marks[i], 77) >> 40) % kMarkWeights;
  return out;
}

std::vector<ContextModel::Example> ContextModel::examples() const {
  struct Where {
    size_t part;
    int64_t at;
  };
  const auto n_rare = size_t(std::count_if(units_.all.begin(), units_.all.end(), [&](Unit u) {
    return is_class(symbol_of_[size_t(u)]);
  }));
  std::vector<Example> out;
  if (n_rare == 0) return out;
  const size_t every_rare = 1 + n_rare / size_t(kExamples);
  std::vector<Where> rare;
  size_t seen = 0;
  for (size_t p = 0; p < units_.n_parts(); ++p)
    for (int64_t i = 0; i < int64_t(units_.size(p)); ++i)
      if (is_class(symbol(p, i)) && seen++ % every_rare == 0) rare.push_back({p, i});
  const auto unit = [&](size_t i) { return units_.at(rare[i].part, rare[i].at); };
  for (size_t i = 0; i < rare.size(); ++i) {
    const auto [part, at] = rare[i];
    out.push_back({look_at(part, at, at + 1, unit(i)), fold_of(part), false});
  }
  const size_t every_cut = std::max<size_t>(1, units_.all.size() / out.size());
  constexpr size_t kPrime = 7919;  // which rare word a cut gets has nothing to do with where it is
  size_t cuts = 0;
  for (size_t p = 0; p < units_.n_parts(); ++p)
    for (int64_t i = 0; i <= int64_t(units_.size(p)); ++i)
      if (++cuts % every_cut == every_cut / 2)
        out.push_back({look_at(p, i, i, unit(cuts * kPrime % rare.size())), fold_of(p), true});
  return out;
}

double ContextModel::logit(const Place& place, const Weights& w) {
  double sum = 0;
  for (size_t i = 0; i < kNumbers; ++i) sum += double(place.numbers[i]) * w.numbers[i];
  for (const uint32_t mark : place.marks) sum += double(w.marks[mark]);
  return sum;
}

/// AdaGrad (Duchi et al. 2011) on the examples of the other folds.
ContextModel::Weights ContextModel::learn(const std::vector<Example>& examples, size_t fold) {
  constexpr int kEpochs = 3;
  constexpr double kRate = 0.1, kDecay = 1e-5;
  Weights w;
  w.marks.assign(kMarkWeights, 0);
  std::array<double, kNumbers> number_squares;
  number_squares.fill(1);
  std::vector<float> mark_squares(kMarkWeights, 1);
  const auto step = [&](auto& weight, auto& squares, double gradient) {
    using T = std::remove_reference_t<decltype(weight)>;
    gradient += kDecay * double(weight);
    squares += T(gradient * gradient);
    weight -= T(kRate * gradient / std::sqrt(double(squares)));
  };
  // A stride that shares no factor with the number of examples visits all, in a mixed order.
  const size_t n = examples.size();
  size_t stride = n * 5 / 8 | 1;
  while (n > 1 && std::gcd(stride, n) != 1) stride += 2;
  for (int epoch = 0; epoch < kEpochs; ++epoch)
    for (size_t k = 0, at = 0; k < n; ++k, at = (at + stride) % n) {
      const Example& e = examples[at];
      if (e.fold == fold) continue;
      const double g = 1 / (1 + std::exp(-logit(e.place, w))) - (e.is_cut ? 1 : 0);
      for (size_t i = 0; i < kNumbers; ++i)
        step(w.numbers[i], number_squares[i], g * double(e.place.numbers[i]));
      for (const uint32_t mark : e.place.marks) step(w.marks[mark], mark_squares[mark], g);
    }
  return w;
}

double ContextModel::bits(size_t part, int64_t from, int64_t to, Unit word) const {
  return logit(look_at(part, from, to, word), weights_[fold_of(part)]) * std::log2(std::exp(1.0));
}

}  // namespace moe
