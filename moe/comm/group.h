// SPDX-License-Identifier: MIT
// Ranks that work on one model. Today there is the local group, one rank; every collective of one
// rank is the identity, and callers are written against this seam.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace moe {

class Group {
 public:
  virtual ~Group() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// Element-wise sums over all ranks, in rank order; the same result on each.
  virtual void all_reduce_sum(std::span<double> values) const = 0;
  virtual void all_reduce_sum(std::span<int64_t> values) const = 0;
};

/// One rank.
std::unique_ptr<Group> make_local_group();

}  // namespace moe
