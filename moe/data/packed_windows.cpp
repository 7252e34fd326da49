// SPDX-License-Identifier: MIT
#include "moe/data/packed_windows.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "moe/base/error.h"

namespace moe {

int64_t TokenSequences::n_targets(int64_t s) const {
  return std::accumulate(trained.begin() + begins_S1[s] + 1, trained.begin() + begins_S1[s + 1],
                         int64_t{0});
}

void TokenSequences::add(std::span<const int32_t> more, std::span<const uint8_t> more_trained) {
  MOE_CHECK(more.size() >= 2 && more.size() == more_trained.size(),
            "[data] a sequence needs two ids at least");
  ids.insert(ids.end(), more.begin(), more.end());
  trained.insert(trained.end(), more_trained.begin(), more_trained.end());
  begins_S1.push_back(static_cast<int64_t>(ids.size()));
}

void TokenSequences::add_text(std::span<const int32_t> more, int64_t seq_len) {
  for (size_t at = 0; at + 1 < more.size(); at += static_cast<size_t>(seq_len)) {
    const size_t n = std::min(more.size() - at, static_cast<size_t>(seq_len) + 1);
    add(more.subspan(at, n), std::vector<uint8_t>(n, 1));
  }
}

std::vector<std::vector<int64_t>> pack_sequences_into(const std::vector<int64_t>& lengths,
                                                      int64_t room, Packing packing) {
  const auto n = static_cast<int64_t>(lengths.size());
  std::vector<std::vector<int64_t>> windows;
  int64_t left = 0;
  if (packing != Packing::best_fit) {
    for (int64_t s = 0; s < n; ++s) {
      if (packing == Packing::none || windows.empty() || lengths[s] > left) {
        windows.emplace_back();
        left = room;
      }
      windows.back().push_back(s);
      left -= lengths[s];
    }
    return windows;
  }
  std::vector<int64_t> order(lengths.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return lengths[a] > lengths[b]; });
  std::set<std::pair<int64_t, size_t>> open;  // room left, window
  for (const int64_t s : order) {
    auto at = open.lower_bound({lengths[s], 0});
    size_t window = windows.size();
    int64_t before = room;
    if (at == open.end()) {
      windows.emplace_back();
    } else {
      before = at->first;
      window = at->second;
      open.erase(at);
    }
    windows[window].push_back(s);
    if (before > lengths[s]) open.emplace(before - lengths[s], window);
  }
  for (auto& window : windows) std::sort(window.begin(), window.end());
  std::sort(windows.begin(), windows.end());
  return windows;
}

PackedWindows::PackedWindows(TokenSequences sequences, int64_t seq_len, Packing packing)
    : sequences_(std::move(sequences)), seq_len_(seq_len) {
  std::vector<int64_t> lengths;
  for (int64_t s = 0; s < sequences_.count(); ++s) {
    lengths.push_back(sequences_.n_tokens(s));
    MOE_CHECK(lengths.back() >= 1 && lengths.back() <= seq_len, "[data] a sequence of ",
              lengths.back(), " tokens does not fit into a window of ", seq_len);
  }
  windows_ = pack_sequences_into(lengths, seq_len, packing);
}

void PackedWindows::append(int64_t w, int64_t first_token_index, Batch& batch) const {
  MOE_CHECK(w >= 0 && w < count(), "[data] window ", w, " is not one of 0 .. ", count() - 1);
  for (const int64_t s : windows_[static_cast<size_t>(w)]) {
    const auto begin = static_cast<size_t>(sequences_.begins_S1[s]);
    const auto n = static_cast<size_t>(sequences_.n_tokens(s)) + 1;
    append_sequence(batch, std::span(sequences_.ids).subspan(begin, n),
                    std::span(sequences_.trained).subspan(begin, n), first_token_index,
                    Batch::kNoSubject);
    first_token_index += static_cast<int64_t>(n) - 1;
  }
}

int64_t PackedWindows::n_targets(int64_t w) const {
  int64_t n = 0;
  for (const int64_t s : windows_[static_cast<size_t>(w)]) n += sequences_.n_targets(s);
  return n;
}

double PackedWindows::fill() const {
  int64_t n = 0;
  for (int64_t s = 0; s < sequences_.count(); ++s) n += sequences_.n_tokens(s);
  return static_cast<double>(n) / static_cast<double>(std::max<int64_t>(1, count() * seq_len_));
}

}  // namespace moe
