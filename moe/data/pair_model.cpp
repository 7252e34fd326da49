// SPDX-License-Identifier: MIT
#include "moe/data/pair_model.h"

#include <algorithm>
#include <cmath>

namespace moe {
namespace {

constexpr int64_t kPairs = 20'000'000;  // units whose pairs are counted

}  // namespace

PairModel::PairModel(const TextUnits& units, const std::vector<char>& rare)
    : rare_(rare), of_unit_(units.names.size()) {
  const size_t n_parts = units.n_parts();
  const auto every = size_t(1 + int64_t(units.all.size()) / kPairs);
  for (size_t p = 0; p < n_parts; p += every)
    for (int64_t i = -1; i <= int64_t(units.size(p)); ++i) {
      const Unit unit = units.at(p, i);
      ++of_unit_[size_t(unit)].n;
      ++n_;
      if (i >= 0) {
        const Unit before = units.at(p, i - 1);
        if (pairs_[pair(before, unit)]++ == 0) {
          ++of_unit_[size_t(before)].followers;
          ++of_unit_[size_t(unit)].leaders;
        }
      }
      if (unit > kEndUnit && rare[size_t(unit)]) {
        ++n_rare_;
        ++of_unit_[size_t(units.at(p, i - 1))].before_rare;
        ++of_unit_[size_t(units.at(p, i + 1))].behind_rare;
      }
    }
}

double PairModel::bits(Unit before, Unit after, bool joined) const {
  const Of& b = of_unit_[size_t(before)];
  const Of& a = of_unit_[size_t(after)];
  const double own = joined ? 1 : 0, rare_own = joined ? 0 : 1;
  const double usual = std::max(double(a.leaders), 0.5) / double(pairs_.size() + 1);
  double read_on = usual;  // absolute discounting
  if (before == kBeginUnit || !rare_[size_t(before)]) {
    const auto found = pairs_.find(pair(before, after));
    const double n = found == pairs_.end() ? 0 : double(found->second) - own;
    read_on = (std::max(n - 0.75, 0.0) + 0.75 * double(b.followers) * usual) /
              std::max(double(b.n) - own, 1.0);
  }
  const double share = double(n_rare_) / double(n_);
  const double word =
      std::max(double(b.before_rare) - rare_own + 3 * share, 0.01) / (double(b.n) + 3) *
      std::max(double(a.behind_rare) - rare_own + 5 * double(a.n) / double(n_), 0.01) /
      (double(n_rare_) + 5);
  return std::clamp(std::log2(std::max(read_on, 1e-9)) - std::log2(word), -8.0, 14.0);
}

}  // namespace moe
