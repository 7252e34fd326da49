// SPDX-License-Identifier: MIT
#include "moe/data/mixture.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "moe/base/error.h"
#include "moe/data/permutation.h"

namespace moe {
namespace {

constexpr int64_t kMostPeriod = int64_t{1} << 16;
constexpr size_t kMostSources = 1000;

}  // namespace

std::vector<int64_t> whole_weights(const std::vector<double>& weights) {
  double sum = 0;
  for (const double w : weights) sum += w;
  std::vector<int64_t> out(weights.size());
  const auto divide = [&] {
    int64_t common = 0;
    for (const int64_t w : out) common = std::gcd(common, w);
    for (int64_t& w : out) w /= common;
    return std::accumulate(out.begin(), out.end(), int64_t{0});
  };
  // Decimal fractions as people write them, and counts.
  for (double scale = 1; scale <= 1e6; scale *= 10) {
    if (sum * scale > 0x1p52) break;
    bool whole = true;
    for (size_t i = 0; i < weights.size() && whole; ++i) {
      const double scaled = weights[i] * scale;
      out[i] = std::llround(scaled);
      whole = out[i] > 0 && std::abs(scaled - double(out[i])) <= 1e-9 * scaled;
    }
    if (whole && divide() <= kMostPeriod) return out;
  }
  const double room = double(kMostPeriod) - double(weights.size());
  for (size_t i = 0; i < weights.size(); ++i)
    out[i] = std::max<int64_t>(1, int64_t(weights[i] / sum * room));
  divide();
  return out;
}

// ---- the order of sources ---------------------------------------------------------------

MixtureOrder::MixtureOrder(const std::vector<Source>& sources) : sources_(sources) {
  MOE_CHECK(!sources.empty() && sources.size() <= kMostSources, "[mixture] ", sources.size(),
            " sources; 1 to ", kMostSources, " are possible");
  for (const Source& s : sources)
    MOE_CHECK(s.weight > 0 && std::isfinite(s.weight) && s.limit >= 0, "[mixture] a weight is ",
              s.weight, ", must be above 0");
  std::vector<int64_t> taken(sources.size(), 0);
  int64_t begin = 0;
  const auto is_left = [&](size_t i) {
    return sources[i].limit == 0 || taken[i] < sources[i].limit;
  };
  for (;;) {
    bool any_left = false, any_limit = false;
    for (size_t i = 0; i < sources.size(); ++i)
      if (is_left(i)) {
        any_left = true;
        any_limit = any_limit || sources[i].limit > 0;
      }
    if (!any_left) {
      n_places_ = begin;
      return;
    }
    phases_.push_back(phase(sources, begin, taken));
    if (!any_limit) return;
    // The phase ends behind the place at which the first source reaches its limit.
    const Phase& p = phases_.back();
    const auto period = std::ssize(p.pattern);
    int64_t length = std::numeric_limits<int64_t>::max();
    for (size_t i = 0; i < sources.size(); ++i) {
      if (p.weights[i] == 0 || sources[i].limit == 0) continue;
      const int64_t last = sources[i].limit - taken[i] - 1, rank = last % p.weights[i];
      int64_t at = 0;
      while (p.pattern[size_t(at)] != i || p.rank[size_t(at)] != rank) ++at;
      length = std::min(length, last / p.weights[i] * period + at + 1);
    }
    for (size_t i = 0; i < sources.size(); ++i) taken[i] += length / period * p.weights[i];
    for (int64_t at = 0; at < length % period; ++at) ++taken[p.pattern[size_t(at)]];
    begin += length;
  }
}

MixtureOrder::Phase MixtureOrder::phase(const std::vector<Source>& sources, int64_t begin,
                                        const std::vector<int64_t>& taken) {
  Phase out{.begin = begin, .taken_before = taken, .weights = {}, .pattern = {}, .rank = {}};
  std::vector<size_t> left;
  std::vector<double> weights;
  for (size_t i = 0; i < sources.size(); ++i)
    if (sources[i].limit == 0 || taken[i] < sources[i].limit) {
      left.push_back(i);
      weights.push_back(sources[i].weight);
    }
  const std::vector<int64_t> whole = whole_weights(weights);
  out.weights.assign(sources.size(), 0);
  for (size_t k = 0; k < left.size(); ++k) out.weights[left[k]] = whole[k];
  const int64_t period = std::accumulate(whole.begin(), whole.end(), int64_t{0});
  // How far each source is behind, times the period; 0 for all again at the period's end.
  std::vector<int64_t> behind(left.size(), 0);
  std::vector<uint16_t> counts(left.size(), 0);
  for (int64_t at = 0; at < period; ++at) {
    for (size_t k = 0; k < left.size(); ++k) behind[k] += whole[k];
    const auto most = size_t(std::max_element(behind.begin(), behind.end()) - behind.begin());
    behind[most] -= period;
    out.pattern.push_back(uint16_t(left[most]));
    out.rank.push_back(counts[most]++);
  }
  return out;
}

const MixtureOrder::Phase& MixtureOrder::phase_of(int64_t place) const {
  const auto after =
      std::upper_bound(phases_.begin(), phases_.end(), place,
                       [](int64_t p, const Phase& phase) { return p < phase.begin; });
  return *(after - 1);
}

MixtureOrder::Place MixtureOrder::at(int64_t place) const {
  MOE_CHECK(place >= 0, "[mixture] place ", place, " does not exist");
  const int64_t round = n_places_ > 0 ? place / n_places_ : 0;
  if (n_places_ > 0) place %= n_places_;
  const Phase& p = phase_of(place);
  const auto period = std::ssize(p.pattern);
  const int64_t in_phase = place - p.begin;
  const auto at = size_t(in_phase % period);
  const size_t source = p.pattern[at];
  return {.source = int64_t(source),
          .taken = round * sources_[source].limit + p.taken_before[source] +
                   in_phase / period * p.weights[source] + p.rank[at]};
}

std::vector<int64_t> MixtureOrder::taken(int64_t n) const {
  const int64_t round = n_places_ > 0 ? n / n_places_ : 0;
  if (n_places_ > 0) n %= n_places_;
  const Phase& p = phase_of(n);
  std::vector<int64_t> out = p.taken_before;
  const auto period = std::ssize(p.pattern);
  for (size_t i = 0; i < out.size(); ++i)
    out[i] += round * sources_[i].limit + (n - p.begin) / period * p.weights[i];
  for (int64_t at = 0; at < (n - p.begin) % period; ++at) ++out[p.pattern[size_t(at)]];
  return out;
}

// ---- windows ----------------------------------------------------------------------------

MixedWindows::MixedWindows(std::vector<Source> sources) : sources_(std::move(sources)) {
  MOE_CHECK(!sources_.empty() && sources_.size() <= kMostSources, "[mixture] ", sources_.size(),
            " sources; 1 to ", kMostSources, " are possible");
  size_t n_weights = 0, n_limits = 0;
  for (const Source& s : sources_) {
    begins_.push_back(begins_.back() + s.windows->count());
    n_weights += s.weight > 0;
    n_limits += s.epochs > 0;
    MOE_CHECK(s.epochs * double(s.windows->count()) < 0x1p50, "[mixture] ", s.epochs, " epochs of ",
              s.windows->count(), " windows are more than can be counted");
    // At least one window, so that a source is not lost to rounding.
    limits_.push_back(
        s.epochs > 0 ? std::max<int64_t>(1, std::llround(s.epochs * double(s.windows->count())))
                     : 0);
  }
  if (n_weights == 0 && n_limits == 0) return;
  MOE_CHECK(n_weights == 0 || n_weights == sources_.size(),
            "[mixture] some sources have a weight and others none; give one to each, or to none");
  std::vector<MixtureOrder::Source> order;
  for (size_t i = 0; i < sources_.size(); ++i)
    order.push_back(
        {n_weights > 0 ? sources_[i].weight : double(sources_[i].windows->count()), limits_[i]});
  order_ = std::make_unique<const MixtureOrder>(order);
}

int64_t MixedWindows::source_of(int64_t w) const {
  MOE_CHECK(w >= 0 && w < count(), "[data] window ", w, " is not one of 0 .. ", count() - 1);
  return std::upper_bound(begins_.begin(), begins_.end(), w) - begins_.begin() - 1;
}

void MixedWindows::append(int64_t w, int64_t first_token_index, Batch& batch) const {
  const int64_t source = source_of(w);
  const size_t before = batch.subject_T.size();
  sources_[size_t(source)].windows->append(w - begins_[size_t(source)], first_token_index, batch);
  std::fill(batch.subject_T.begin() + std::ptrdiff_t(before), batch.subject_T.end(),
            int32_t(source));
}

int64_t MixedWindows::n_targets(int64_t w) const {
  const int64_t source = source_of(w);
  return sources_[size_t(source)].windows->n_targets(w - begins_[size_t(source)]);
}

int64_t MixedWindows::at(int64_t place, uint64_t seed, bool shuffled) const {
  if (!order_) return Windows::at(place, seed, shuffled);
  const auto [source, taken] = order_->at(place);
  // Another seed for each source, or sources of one size would share an order.
  constexpr uint64_t kGolden = 0x9E3779B97F4A7C15;
  return begins_[size_t(source)] + sources_[size_t(source)].windows->at(
                                       taken, seed + kGolden * uint64_t(source + 1), shuffled);
}

std::vector<int64_t> MixedWindows::taken(int64_t n) const {
  if (order_) return order_->taken(n);
  std::vector<int64_t> out;
  for (int64_t i = 0; i < std::ssize(sources_); ++i)
    out.push_back(int64_t(double(n) * double(windows_of(i)) / double(count())));
  return out;
}

}  // namespace moe
