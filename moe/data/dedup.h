// SPDX-License-Identifier: MIT
// Copies and near copies among documents: exact ones by hash, near ones by MinHash over word
// triples (Broder 1997) with bands that bring candidates together, each of which is then compared
// in full, so that nothing is removed on a guess.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace moe {

struct DedupOptions {
  /// Documents are near copies from this Jaccard similarity on, of their word triples and of their
  /// words both. 1: exact copies alone.
  double similarity = 0.6;
  std::function<void(double share)> progress = {};
};

struct Duplicate {
  int64_t index;  // of the document
  int64_t of;     // of the first one that it is a copy of
  bool exact;
  double similarity;  // of word triples
};

/// Which documents are copies of an earlier one. Case and the kind of white space do not count for
/// near copies. The same for any number of threads.
std::vector<Duplicate> find_duplicates(const std::vector<std::string_view>& documents,
                                       const DedupOptions& options = {});

/// |a and b| / |a or b| of two documents' sets of n words in a row; documents of fewer words are
/// one such set whole. 1 for two empty ones.
double jaccard(std::string_view a, std::string_view b, int n);

}  // namespace moe
