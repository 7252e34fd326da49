// SPDX-License-Identifier: MIT
#include "moe/data/loader.h"

#include <gtest/gtest.h>

#include "moe/base/error.h"
#include "moe/data/dataset.h"

namespace moe {
namespace {

// n windows of two tokens each, whose ids are their window's number.
class Numbered : public Windows {
 public:
  explicit Numbered(int64_t n) : n_(n) {}
  int64_t count() const override { return n_; }
  void append(int64_t w, int64_t first_token_index, Batch& batch) const override {
    append_sequence(batch, std::vector<int32_t>(3, static_cast<int32_t>(w)), first_token_index,
                    Batch::kNoSubject);
  }

 private:
  int64_t n_;
};

Loader loader(int64_t n, int64_t batch_size, int64_t grad_accum, bool shuffled = true,
              uint64_t seed = 1) {
  return Loader(std::make_shared<Numbered>(n), {.batch_size = batch_size,
                                                .grad_accum = grad_accum,
                                                .seq_len = 2,
                                                .seed = seed,
                                                .shuffled = shuffled});
}

std::vector<int32_t> windows_of(const Batch& batch) {
  std::vector<int32_t> out;
  for (size_t i = 0; i < batch.token_ids_T.size(); i += 2) out.push_back(batch.token_ids_T[i]);
  return out;
}

bool same(const Batch& a, const Batch& b) {
  return a.token_ids_T == b.token_ids_T && a.targets_T == b.targets_T &&
         a.positions_T == b.positions_T && a.sequence_starts_B1 == b.sequence_starts_B1 &&
         a.token_index_T == b.token_index_T && a.subject_T == b.subject_T &&
         a.n_targets == b.n_targets;
}

TEST(Loader, VisitsEveryWindowOncePerEpochInANewOrderEachTime) {
  const Loader all = loader(12, 4, 1);
  std::vector<std::vector<int32_t>> epochs(2);
  for (int64_t step = 0; step < 6; ++step) {
    for (const int32_t w : windows_of(all.batch(step, 0)))
      epochs[static_cast<size_t>(step / 3)].push_back(w);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  for (auto& epoch : epochs) {
    std::sort(epoch.begin(), epoch.end());
    for (int32_t w = 0; w < 12; ++w) EXPECT_EQ(epoch[static_cast<size_t>(w)], w);
  }
}

TEST(Loader, SequentialOrderGoesRoundAndRoundWithoutAGap) {
  const Loader all = loader(5, 3, 1, false);
  EXPECT_EQ(windows_of(all.batch(0, 0)), (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(windows_of(all.batch(1, 0)), (std::vector<int32_t>{3, 4, 0}));
  EXPECT_EQ(windows_of(all.batch(2, 0)), (std::vector<int32_t>{1, 2, 3}));
}

TEST(Loader, ABatchDependsOnTheStepNumberAlone) {
  DataConfig config;
  config.seq_len = 33;
  const Dataset data = open_dataset(config, 5), again = open_dataset(config, 5);
  const LoaderConfig sizes{.batch_size = 3, .grad_accum = 2, .seq_len = 33, .seed = 5};
  const Loader first(data.train, sizes), resumed(again.train, sizes);
  std::vector<Batch> undisturbed;
  for (int64_t step = 0; step < 6; ++step) undisturbed.push_back(first.batch(step, 1));
  for (int64_t step = 5; step >= 3; --step)
    EXPECT_TRUE(same(resumed.batch(step, 1), undisturbed[static_cast<size_t>(step)])) << step;
}

TEST(Loader, TheDataOfAStepDoNotDependOnItsMicroBatches) {
  const Batch whole = loader(50, 8, 1).batch(3, 0);
  for (const int64_t n_micro : {2, 4, 8}) {
    const Loader cut = loader(50, 8 / n_micro, n_micro);
    std::vector<int32_t> ids;
    std::vector<int64_t> token_index;
    for (int64_t micro = 0; micro < n_micro; ++micro) {
      const Batch batch = cut.batch(3, micro);
      EXPECT_EQ(cut.n_targets(3, micro), batch.n_targets);
      ids.insert(ids.end(), batch.token_ids_T.begin(), batch.token_ids_T.end());
      token_index.insert(token_index.end(), batch.token_index_T.begin(), batch.token_index_T.end());
    }
    EXPECT_EQ(ids, whole.token_ids_T);
    EXPECT_EQ(token_index, whole.token_index_T);
  }
}

TEST(Loader, TokenIndexCountsThroughTheStep) {
  const Batch second = loader(50, 2, 3).batch(7, 1);
  EXPECT_EQ(second.token_index_T, (std::vector<int64_t>{4, 5, 6, 7}));
}

TEST(Loader, AnotherSeedGivesAnotherOrder) {
  EXPECT_NE(windows_of(loader(100, 20, 1, true, 1).batch(0, 0)),
            windows_of(loader(100, 20, 1, true, 2).batch(0, 0)));
}

TEST(Loader, SaysHowManyEpochsHavePassed) { EXPECT_DOUBLE_EQ(loader(12, 2, 3).epoch(4), 2.0); }

TEST(Loader, RefusesSizesBelowOneAndMicroBatchesThatDoNotExist) {
  EXPECT_THROW(loader(5, 0, 1), Error);
  EXPECT_THROW(loader(5, 1, 0), Error);
  EXPECT_THROW(loader(0, 1, 1), Error);
  EXPECT_THROW(Loader(nullptr, {}), Error);
  EXPECT_THROW(loader(5, 1, 2).batch(0, 2), Error);
  EXPECT_THROW(loader(5, 1, 2).batch(-1, 0), Error);
}

TEST(ValidationBatches, HoldEveryWindowInOrderAndTheLastMayBeShort) {
  const auto batches = validation_batches(Numbered(7), 2, 3);
  ASSERT_EQ(batches.size(), 3u);
  EXPECT_EQ(windows_of(batches[1]), (std::vector<int32_t>{3, 4, 5}));
  EXPECT_EQ(windows_of(batches[2]), (std::vector<int32_t>{6}));
}

TEST(ValidationBatches, SpreadALimitOverTheWholeSet) {
  const auto batches = validation_batches(Numbered(100), 2, 8, 5);
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(windows_of(batches[0]), (std::vector<int32_t>{0, 20, 40, 60, 80}));
  EXPECT_EQ(validation_batches(Numbered(3), 2, 8, 5)[0].n_sequences(), 3);
}

}  // namespace
}  // namespace moe
