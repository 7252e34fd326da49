// SPDX-License-Identifier: MIT
// Window arithmetic against a naive enumeration, and what a window appends.
#include "moe/data/windows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "moe/base/error.h"

namespace moe {
namespace {

using ::testing::ElementsAre;

// The ids are 100, 101, 102 ...: an id tells its place.
TokenWindows numbered(TokenRows rows, WindowShape shape) {
  return {[](int64_t begin, std::span<int32_t> out) {
            for (size_t i = 0; i < out.size(); ++i)
              out[i] = static_cast<int32_t>(100 + begin + static_cast<int64_t>(i));
          },
          rows, shape};
}

// Start and number of ids of every window, straight from the definition.
std::vector<std::pair<int64_t, int64_t>> naive_windows(int64_t n, const WindowShape& shape) {
  std::vector<std::pair<int64_t, int64_t>> out;
  int64_t start = 0, last_target = 0;
  for (; start + shape.seq_len < n; start += shape.stride) {
    out.emplace_back(start, shape.seq_len + 1);
    last_target = start + shape.seq_len;
  }
  if (!shape.drop_last && n - start >= 2 && n - 1 > last_target) out.emplace_back(start, n - start);
  return out;
}

TEST(Windows, CountsAndStartsMatchTheDefinitionAtEverySmallSize) {
  for (int64_t n = 0; n <= 20; ++n) {
    for (int64_t seq_len = 1; seq_len <= 7; ++seq_len) {
      for (int64_t stride = 1; stride <= 9; ++stride) {
        for (const bool drop_last : {true, false}) {
          const WindowShape shape{seq_len, stride, drop_last};
          const auto want = naive_windows(n, shape);
          ASSERT_EQ(count_windows(n, shape), static_cast<int64_t>(want.size()))
              << n << " " << seq_len << " " << stride;
          const TokenWindows windows = numbered({.begin = 0, .n_rows = 1, .row_length = n}, shape);
          for (int64_t w = 0; w < windows.count(); ++w) {
            Batch batch = empty_batch();
            windows.append(w, 0, batch);
            const auto [start, n_ids] = want[static_cast<size_t>(w)];
            ASSERT_EQ(batch.token_ids_T.front(), 100 + start);
            ASSERT_EQ(batch.targets_T.back(), 100 + start + n_ids - 1);
            ASSERT_EQ(batch.n_tokens(), n_ids - 1);
          }
        }
      }
    }
  }
}

TEST(Windows, WithoutDropLastEveryTokenButTheFirstIsATarget) {
  for (int64_t n = 2; n <= 40; ++n) {
    const TokenWindows windows =
        numbered({.begin = 0, .n_rows = 1, .row_length = n}, {7, 7, false});
    Batch batch = empty_batch();
    for (int64_t w = 0; w < windows.count(); ++w) windows.append(w, 0, batch);
    ASSERT_EQ(batch.n_targets, n - 1);
  }
}

TEST(Windows, ScoredOnceEachTokenIsATargetWithContextBeforeIt) {
  constexpr int64_t kSeqLen = 7;
  for (int64_t n = 2; n <= 40; ++n)
    for (int64_t stride = 1; stride <= kSeqLen; ++stride) {
      const TokenWindows windows =
          numbered({.begin = 0, .n_rows = 1, .row_length = n}, {kSeqLen, stride, false, true});
      std::vector<int32_t> targets;
      for (int64_t w = 0; w < windows.count(); ++w) {
        Batch batch = empty_batch();
        windows.append(w, 0, batch);
        ASSERT_EQ(windows.n_targets(w), batch.n_targets);
        for (size_t t = 0; t < batch.targets_T.size(); ++t) {
          if (batch.targets_T[t] == Batch::kNotTrained) continue;
          ASSERT_EQ(batch.targets_T[t], batch.token_ids_T[t] + 1);
          ASSERT_GE(int64_t(t), w == 0 ? 0 : kSeqLen - stride);
          targets.push_back(batch.targets_T[t]);
        }
      }
      ASSERT_EQ(std::ssize(targets), n - 1) << n << " " << stride;
      for (size_t i = 0; i < targets.size(); ++i) ASSERT_EQ(targets[i], 101 + int32_t(i));
    }
}

TEST(Windows, NeverCrossFromOneRowIntoTheNext) {
  const TokenWindows windows = numbered({.begin = 50, .n_rows = 3, .row_length = 5}, {2, 2, true});
  ASSERT_EQ(windows.count(), 6);
  Batch batch = empty_batch();
  windows.append(3, 0, batch);  // row 1, second window: ids 50 + 5 + 2 ..
  EXPECT_THAT(batch.token_ids_T, ElementsAre(157, 158));
  EXPECT_THAT(batch.targets_T, ElementsAre(158, 159));
}

TEST(Windows, RefuseAnIndexOutOfRange) {
  const TokenWindows windows = numbered({.begin = 0, .n_rows = 1, .row_length = 9}, {4, 4, true});
  Batch batch = empty_batch();
  EXPECT_THROW(windows.append(windows.count(), 0, batch), Error);
  EXPECT_THROW(windows.append(-1, 0, batch), Error);
  EXPECT_THROW(count_windows(10, {0, 1, true}), Error);
  EXPECT_THROW(count_windows(10, {4, 0, true}), Error);
}

TEST(Batch, PacksSequencesWithPositionsFromZero) {
  Batch batch = empty_batch();
  append_sequence(batch, std::vector<int32_t>{5, 6, 7}, 40, 2);
  append_sequence(batch, std::vector<int32_t>{8, 9}, 60, 3);
  EXPECT_THAT(batch.token_ids_T, ElementsAre(5, 6, 8));
  EXPECT_THAT(batch.targets_T, ElementsAre(6, 7, 9));
  EXPECT_THAT(batch.positions_T, ElementsAre(0, 1, 0));
  EXPECT_THAT(batch.sequence_starts_B1, ElementsAre(0, 2, 3));
  EXPECT_THAT(batch.token_index_T, ElementsAre(40, 41, 60));
  EXPECT_THAT(batch.subject_T, ElementsAre(2, 2, 3));
  EXPECT_EQ(batch.n_targets, 3);
  EXPECT_EQ(batch.n_sequences(), 2);
}

TEST(Batch, LeavesTheFirstTokensUntrainedOnRequest) {
  Batch batch = empty_batch();
  append_sequence(batch, std::vector<int32_t>{5, 6, 7, 8}, 0, 1, 2);
  EXPECT_THAT(batch.targets_T, ElementsAre(Batch::kNotTrained, Batch::kNotTrained, 8));
  EXPECT_EQ(batch.n_targets, 1);
}

TEST(Batch, CountsTheBytesOfItsTargetsWithoutSpecialTokens) {
  Batch batch = empty_batch();
  append_sequence(batch, std::vector<int32_t>{0, 1, 2, 1}, 0, Batch::kNoSubject);
  const auto chars = make_char_tokenizer({U'a', U'é', U'漢'});
  EXPECT_EQ(target_bytes(batch, *chars), 2 + 3 + 2);
  Batch with_end = empty_batch();
  append_sequence(with_end, std::vector<int32_t>{'a', 'b', 256}, 0, Batch::kNoSubject);
  EXPECT_EQ(target_bytes(with_end, *make_byte_tokenizer()), 1);
  with_end.targets_T[0] = Batch::kNotTrained;
  EXPECT_EQ(target_bytes(with_end, *make_byte_tokenizer()), 0);
}

}  // namespace
}  // namespace moe
