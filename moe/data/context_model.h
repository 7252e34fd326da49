// SPDX-License-Identifier: MIT
// Whether a place in a text looks like one where the text was cut open to put something in, or like
// one where a rare word stands by nature. A classifier learns the difference from the text itself:
// places of its rare words against cuts between its words with another rare word put in
// (noise-contrastive estimation, Gutmann and Hyvarinen 2010), by logistic regression on counts of
// pairs and triples of words around the place and on how the rare word is written.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "moe/data/text_units.h"

namespace moe {

class ContextModel {
 public:
  /// rare: of units, whether they count as rare words. documents: of each part. All must outlive
  /// this. Of a long text an even sample of the parts is counted.
  ContextModel(const TextUnits& units, const std::vector<char>& rare,
               const std::vector<int64_t>& documents);

  /// log2 of the odds, put in against natural, of `word`, a rare one, in place of the units [from,
  /// to) of a part; from == to puts it between two units. The weights were learned on other
  /// documents.
  double bits(size_t part, int64_t from, int64_t to, Unit word) const;

 private:
  static constexpr size_t kNumbers = 16, kMarks = 14, kFolds = 4;
  static constexpr size_t kMarkWeights = size_t{1} << 18;

  /// A unit, or the class of a rare one.
  using Symbol = uint32_t;
  struct Place {
    std::array<float, kNumbers> numbers = {};  // logarithms of ratios of counts
    std::array<uint32_t, kMarks> marks = {};   // words and endings around it, hashed
  };
  struct Weights {
    std::array<double, kNumbers> numbers = {};
    std::vector<float> marks = {};
  };
  struct Example {
    Place place;
    size_t fold;
    bool is_cut;
  };
  struct Count {
    int32_t n = 0, followers = 0;  // followers: different ones
  };

  Symbol symbol(size_t part, int64_t i) const { return symbol_of_[size_t(units_.at(part, i))]; }
  size_t fold_of(size_t part) const { return size_t(documents_[part]) % kFolds; }
  void count();
  Count pair(Symbol a, Symbol b) const;
  double triple(Symbol a, Symbol b, Symbol c) const;
  Place look_at(size_t part, int64_t from, int64_t to, Unit word) const;
  std::vector<Example> examples() const;
  static Weights learn(const std::vector<Example>& examples, size_t fold);
  static double logit(const Place& place, const Weights& w);

  const TextUnits& units_;
  const std::vector<int64_t>& documents_;
  size_t every_;                   // of so many parts one is counted
  std::vector<Symbol> symbol_of_;  // by unit
  std::vector<Count> symbols_;     // by symbol
  std::vector<int32_t> leaders_;   // by symbol: different ones before it
  std::unordered_map<uint64_t, Count> pairs_;
  std::unordered_map<uint64_t, int32_t> triples_;
  int64_t n_ = 0;
  std::array<Weights, kFolds> weights_;
};

}  // namespace moe
