// SPDX-License-Identifier: MIT
#include "moe/data/packed_windows.h"

#include <gtest/gtest.h>
#include <numeric>

#include "moe/base/rng.h"

namespace moe {
namespace {

TokenSequences sequences_of(const std::vector<int64_t>& lengths) {
  TokenSequences out;
  for (size_t s = 0; s < lengths.size(); ++s) {
    const std::vector<int32_t> ids(size_t(lengths[s]) + 1, int32_t(s));
    std::vector<uint8_t> trained(ids.size(), 1);
    trained[1] = 0;
    out.add(ids, trained);
  }
  return out;
}

TEST(Packing, EveryModeHoldsEverySequenceOnceAndNoWindowOverflows) {
  const RngStream draws(1, 0, "lengths");
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < 3000; ++i) lengths.push_back(1 + int64_t(draws.below(100, i, 0)));
  for (const Packing packing : {Packing::none, Packing::sequential, Packing::best_fit}) {
    std::vector<int64_t> seen;
    for (const auto& window : pack_sequences_into(lengths, 100, packing)) {
      int64_t sum = 0;
      for (const int64_t s : window) sum += lengths[size_t(s)];
      EXPECT_LE(sum, 100);
      seen.insert(seen.end(), window.begin(), window.end());
    }
    std::sort(seen.begin(), seen.end());
    std::vector<int64_t> all(lengths.size());
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(seen, all);
  }
}

TEST(Packing, BestFitWastesLessThanTheirOrder) {
  const RngStream draws(2, 0, "lengths");
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < 3000; ++i) lengths.push_back(1 + int64_t(draws.below(400, i, 0)));
  const PackedWindows best(sequences_of(lengths), 512, Packing::best_fit),
      in_order(sequences_of(lengths), 512, Packing::sequential);
  EXPECT_GT(best.fill(), 0.98);
  EXPECT_LT(in_order.fill(), 0.85);
}

TEST(Packing, ByHand) {
  using Windows = std::vector<std::vector<int64_t>>;
  const std::vector<int64_t> lengths = {3, 7, 5, 2, 3};
  EXPECT_EQ(pack_sequences_into(lengths, 10, Packing::none), (Windows{{0}, {1}, {2}, {3}, {4}}));
  EXPECT_EQ(pack_sequences_into(lengths, 10, Packing::sequential), (Windows{{0, 1}, {2, 3, 4}}));
  // 7, then 5 in a window of its own, 3 into the 7's, 3 into the 5's, 2 to the 5's 3.
  EXPECT_EQ(pack_sequences_into(lengths, 10, Packing::best_fit), (Windows{{0, 1}, {2, 3, 4}}));
}

TEST(PackedWindows, EachSequenceStartsAtPositionZeroAndKeepsItsMask) {
  const PackedWindows windows(sequences_of({3, 2}), 8, Packing::best_fit);
  ASSERT_EQ(windows.count(), 1);
  Batch batch = empty_batch();
  windows.append(0, 100, batch);
  EXPECT_EQ(batch.token_ids_T, (std::vector<int32_t>{0, 0, 0, 1, 1}));
  EXPECT_EQ(batch.positions_T, (std::vector<int32_t>{0, 1, 2, 0, 1}));
  EXPECT_EQ(batch.sequence_starts_B1, (std::vector<int32_t>{0, 3, 5}));
  EXPECT_EQ(batch.targets_T, (std::vector<int32_t>{-1, 0, 0, -1, 1}));
  EXPECT_EQ(batch.token_index_T, (std::vector<int64_t>{100, 101, 102, 103, 104}));
  EXPECT_EQ(batch.n_targets, 3);
  EXPECT_EQ(windows.n_targets(0), 3);
}

TEST(PackedWindows, ALongTextIsLearnedWholeInPieces) {
  TokenSequences sequences;
  std::vector<int32_t> ids(23);
  std::iota(ids.begin(), ids.end(), 0);
  sequences.add_text(ids, 10);
  std::vector<int32_t> targets;
  const PackedWindows windows(sequences, 10, Packing::sequential);
  for (int64_t w = 0; w < windows.count(); ++w) {
    Batch batch = empty_batch();
    windows.append(w, 0, batch);
    targets.insert(targets.end(), batch.targets_T.begin(), batch.targets_T.end());
  }
  EXPECT_EQ(targets, std::vector<int32_t>(ids.begin() + 1, ids.end()));
}

}  // namespace
}  // namespace moe
