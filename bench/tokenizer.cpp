// SPDX-License-Identifier: MIT
// How fast are lines of a text encoded, or a tokenizer trained on it? One JSON object; the peer is
// bench/peers/hf_tokenizers.py, and bench/tokenizer.py runs both in turns.
//
// usage: bench_tokenizer encode TOKENIZER FILE THREADS SECONDS
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "moe/base/fs.h"
#include "moe/base/parallel.h"
#include "moe/text/encode_batch.h"
#include "moe/text/tokenizer_files.h"

int main(int argc, char** argv) {
  using namespace moe;
  if (argc != 6 || std::strcmp(argv[1], "encode") != 0) {
    std::fprintf(stderr, "usage: bench_tokenizer encode TOKENIZER FILE THREADS SECONDS\n");
    return 2;
  }
  set_threads(std::atoi(argv[4]));
  const double seconds = std::atof(argv[5]);
  const auto tokenizer = read_tokenizer(argv[2]);
  const std::string text = read_file(argv[3]);
  std::vector<std::string_view> lines;
  for (std::string_view rest = text; !rest.empty();) {
    lines.push_back(rest.substr(0, rest.find('\n')));
    rest.remove_prefix(std::min(rest.size(), lines.back().size() + 1));
  }
  using Clock = std::chrono::steady_clock;
  std::vector<double> times;
  int64_t n_ids = 0;
  uint64_t sum = 0;  // of all ids by their places, to compare with the peer
  for (const auto begin = Clock::now();
       times.size() < 4 || Clock::now() - begin < std::chrono::duration<double>(seconds);) {
    const auto start = Clock::now();
    const auto ids = encode_batch(*tokenizer, lines);
    times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
    n_ids = 0;
    sum = 0;
    for (const auto& line : ids)
      for (const TokenId id : line)
        sum += static_cast<uint64_t>(id) * static_cast<uint64_t>(++n_ids);
  }
  std::sort(times.begin() + 1, times.end());  // the first warms the caches
  const double median = times[1 + (times.size() - 1) / 2];
  std::printf(
      "{\"seconds\": %.6f, \"bytes\": %zu, \"ids\": %lld, \"sum\": %llu, \"megabytes_per_second\": "
      "%.3f}\n",
      median, text.size(), static_cast<long long>(n_ids), static_cast<unsigned long long>(sum),
      double(text.size()) / median / 1e6);
  return 0;
}
