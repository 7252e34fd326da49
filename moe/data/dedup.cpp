// SPDX-License-Identifier: MIT
#include "moe/data/dedup.h"

#include <algorithm>
#include <limits>
#include <string>
#include <unordered_map>

#include "moe/base/parallel.h"
#include "moe/base/rng.h"

namespace moe {
namespace {

constexpr int kTriple = 3;
// 32 bands of 4 of 128 minima: two documents of similarity s share a band with probability
// 1 - (1 - s^4)^32, 98.8 % at 0.6 and 99.99 % at 0.7.
constexpr size_t kBands = 32, kRows = 4, kMinima = kBands * kRows;

uint64_t mix(uint64_t x) {  // splitmix64's finaliser
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
  x = (x ^ x >> 27) * 0x94D049BB133111EBu;
  return x ^ x >> 31;
}

/// Hashes of the words, ASCII in lower case.
std::vector<uint64_t> words_of(std::string_view text) {
  std::vector<uint64_t> out;
  std::string word;
  const auto end = [&] {
    if (!word.empty()) out.push_back(stable_hash(word));
    word.clear();
  };
  for (const char c : text) {
    if (c == ' ' || (c >= '\t' && c <= '\r'))
      end();
    else
      word += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  }
  end();
  return out;
}

/// The different runs of n words, as hashes, ascending.
std::vector<uint64_t> shingles_of(const std::vector<uint64_t>& words, int n) {
  std::vector<uint64_t> out;
  const size_t runs =
      words.size() < size_t(n) ? (words.empty() ? 0 : 1) : words.size() - size_t(n) + 1;
  for (size_t i = 0; i < runs; ++i) {
    uint64_t h = 0;
    for (size_t k = i; k < std::min(words.size(), i + size_t(n)); ++k)
      h = mix(h ^ words[k]) + k - i;
    out.push_back(h);
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

double similarity(const std::vector<uint64_t>& a, const std::vector<uint64_t>& b) {
  if (a.empty() && b.empty()) return 1;
  size_t both = 0;
  for (size_t i = 0, k = 0; i < a.size() && k < b.size();) {
    if (a[i] == b[k])
      ++both, ++i, ++k;
    else if (a[i] < b[k])
      ++i;
    else
      ++k;
  }
  return double(both) / double(a.size() + b.size() - both);
}

}  // namespace

double jaccard(std::string_view a, std::string_view b, int n) {
  return similarity(shingles_of(words_of(a), n), shingles_of(words_of(b), n));
}

std::vector<Duplicate> find_duplicates(const std::vector<std::string_view>& documents,
                                       const DedupOptions& options) {
  const int64_t n = std::ssize(documents);
  std::vector<Duplicate> out;
  std::vector<char> gone(size_t(n), 0);
  std::unordered_map<uint64_t, std::vector<int64_t>> by_hash;
  for (int64_t i = 0; i < n; ++i) {
    std::vector<int64_t>& same = by_hash[stable_hash(documents[size_t(i)])];
    const auto first = std::find_if(same.begin(), same.end(), [&](int64_t k) {
      return documents[size_t(k)] == documents[size_t(i)];
    });
    if (first == same.end()) {
      same.push_back(i);
      continue;
    }
    gone[size_t(i)] = 1;
    out.push_back({i, *first, true, 1});
  }
  if (options.similarity >= 1) return out;

  std::vector<uint64_t> keys(kMinima);
  for (size_t k = 0; k < kMinima; ++k) keys[k] = mix(k + 1);
  std::vector<std::vector<uint64_t>> triples(static_cast<size_t>(n));
  std::vector<uint64_t> bands(size_t(n) * kBands);
  constexpr int64_t kAtOnce = 4096;
  for (int64_t begin = 0; begin < n; begin += kAtOnce) {
    parallel_for(std::min(kAtOnce, n - begin), 8, [&](int64_t from, int64_t to) {
      for (int64_t i = begin + from; i < begin + to; ++i) {
        if (gone[size_t(i)]) continue;
        triples[size_t(i)] = shingles_of(words_of(documents[size_t(i)]), kTriple);
        uint64_t minima[kMinima];
        std::fill(minima, minima + kMinima, std::numeric_limits<uint64_t>::max());
        for (const uint64_t shingle : triples[size_t(i)])
          for (size_t k = 0; k < kMinima; ++k)
            minima[k] = std::min(minima[k], mix(shingle ^ keys[k]));
        for (size_t b = 0; b < kBands; ++b) {
          uint64_t h = b;
          for (size_t r = 0; r < kRows; ++r) h = mix(h ^ minima[b * kRows + r]) + r;
          bands[size_t(i) * kBands + b] = h;
        }
      }
    });
    if (options.progress) options.progress(0.8 * double(std::min(n, begin + kAtOnce)) / double(n));
  }
  // In order: a document is compared with the kept ones that share a band, the earliest first.
  std::unordered_map<uint64_t, std::vector<int64_t>> in_band;
  for (int64_t i = 0; i < n; ++i) {
    if (gone[size_t(i)] || triples[size_t(i)].empty()) continue;
    std::vector<int64_t> candidates;
    for (size_t b = 0; b < kBands; ++b)
      if (const auto found = in_band.find(bands[size_t(i) * kBands + b]); found != in_band.end())
        candidates.insert(candidates.end(), found->second.begin(), found->second.end());
    std::sort(candidates.begin(), candidates.end());
    candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
    const std::vector<uint64_t>* mine = &triples[size_t(i)];
    std::vector<uint64_t> words;
    for (const int64_t k : candidates) {
      const double s = similarity(*mine, triples[size_t(k)]);
      if (s < options.similarity) continue;
      if (words.empty()) words = shingles_of(words_of(documents[size_t(i)]), 1);
      if (similarity(words, shingles_of(words_of(documents[size_t(k)]), 1)) < options.similarity)
        continue;
      gone[size_t(i)] = 1;
      out.push_back({i, k, false, s});
      break;
    }
    if (gone[size_t(i)]) continue;
    for (size_t b = 0; b < kBands; ++b) in_band[bands[size_t(i) * kBands + b]].push_back(i);
    if (options.progress && i % 1024 == 0) options.progress(0.8 + 0.2 * double(i) / double(n));
  }
  std::sort(out.begin(), out.end(),
            [](const Duplicate& a, const Duplicate& b) { return a.index < b.index; });
  return out;
}

}  // namespace moe
