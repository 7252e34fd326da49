// SPDX-License-Identifier: MIT
// Several sources of windows as one. Which source place k of the order takes from is the one that
// is furthest behind its share, w_i (k + 1) - taken_i (Megatron's blending; nginx's smooth weighted
// round robin), so that every stretch of the order holds the sources in their shares. With whole
// numbers as weights the rule repeats after their sum, so any place is reached by arithmetic.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "moe/data/windows.h"

namespace moe {

/// Which source each place takes from.
class MixtureOrder {
 public:
  struct Source {
    double weight = 1;  // > 0; need not sum to 1
    int64_t limit = 0;  // places at most; the share then goes to the others. 0: no limit
  };
  /// At least one source. Throws Error for a weight that is not a positive number.
  explicit MixtureOrder(const std::vector<Source>& sources);

  struct Place {
    int64_t source = 0;
    int64_t taken = 0;  // places before this one that took from the same source
  };
  Place at(int64_t place) const;
  /// Of each source, how many of the first n places take from it.
  std::vector<int64_t> taken(int64_t n) const;
  /// Places until every source has reached its limit; 0: there is no such end. Behind it the order
  /// begins again.
  int64_t n_places() const { return n_places_; }

 private:
  /// Places in which the same sources are left.
  struct Phase {
    int64_t begin = 0;
    std::vector<int64_t> taken_before;  // of each source
    std::vector<int64_t> weights;       // whole numbers; 0: not left
    std::vector<uint16_t> pattern;      // the source of each place of one period
    std::vector<uint16_t> rank;         // places before it in the period with the same source
  };
  static Phase phase(const std::vector<Source>& sources, int64_t begin,
                     const std::vector<int64_t>& taken);
  const Phase& phase_of(int64_t place) const;

  std::vector<Source> sources_;
  std::vector<Phase> phases_;
  int64_t n_places_ = 0;
};

/// Windows of several sources: window w of source i has the number w + the windows of those before.
/// subject_T of what they append is the number of the source.
class MixedWindows : public Windows {
 public:
  struct Source {
    std::shared_ptr<const Windows> windows;
    double weight = 0;  // 0 for all: one set, each window once in a pass over all
    double epochs = 0;  // 0: no limit
  };
  /// At least one source, at most 1,000. Throws Error when some have weights and others none.
  explicit MixedWindows(std::vector<Source> sources);
  int64_t count() const override { return begins_.back(); }
  void append(int64_t w, int64_t first_token_index, Batch& batch) const override;
  int64_t n_targets(int64_t w) const override;
  /// Each source is shuffled by itself, anew in each of its passes.
  int64_t at(int64_t place, uint64_t seed, bool shuffled) const override;

  /// Windows of each source among the first n places.
  std::vector<int64_t> taken(int64_t n) const;
  /// Windows until every source was seen as often as it may be; 0: there is no such end.
  int64_t n_places() const { return order_ ? order_->n_places() : 0; }
  int64_t windows_of(int64_t source) const { return begins_[source + 1] - begins_[source]; }

 private:
  int64_t source_of(int64_t w) const;

  std::vector<Source> sources_;
  std::vector<int64_t> begins_ = {0};
  std::vector<int64_t> limits_;
  std::unique_ptr<const MixtureOrder> order_;  // null: as one set
};

/// Weights as whole numbers in the same proportions: exact where their sum stays small (0.7 and 0.3
/// are 7 and 3), else to one part in 65,536, at least 1 each.
std::vector<int64_t> whole_weights(const std::vector<double>& weights);

}  // namespace moe
