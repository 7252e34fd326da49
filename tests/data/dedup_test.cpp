// SPDX-License-Identifier: MIT
#include "moe/data/dedup.h"

#include <gtest/gtest.h>
#include <string>

#include "moe/base/parallel.h"
#include "moe/base/rng.h"
#include "moe/base/str.h"

namespace moe {
namespace {

std::vector<std::string> random_words(const RngStream& rng, int64_t document, int64_t n) {
  std::vector<std::string> out;
  for (int64_t i = 0; i < n; ++i) out.push_back(str("w", rng.below(5000, document, i)));
  return out;
}

struct Corpus {
  std::vector<std::string> texts;
  std::vector<std::string_view> views() const { return {texts.begin(), texts.end()}; }
};

TEST(Dedup, FindsExactCopiesAndEditedOnesAndNothingElse) {
  const RngStream rng(3, 0, "documents");
  Corpus corpus;
  constexpr int64_t kOriginals = 500;
  for (int64_t i = 0; i < kOriginals; ++i)
    corpus.texts.push_back(join(random_words(rng, i, 30 + i % 200), " "));
  for (int64_t i = 0; i < kOriginals; i += 2) corpus.texts.push_back(corpus.texts[size_t(i)]);
  const size_t first_edited = corpus.texts.size();
  for (int64_t i = 1; i < kOriginals; i += 2) {  // up to 5 % of the words changed
    std::vector<std::string> words = random_words(rng, i, 30 + i % 200);
    const auto n_edits = int64_t(words.size() / 20);
    for (int64_t k = 0; k < n_edits; ++k)
      words[size_t(rng.below(words.size(), 10'000 + i, k))] = str("edited", k);
    corpus.texts.push_back(join(words, "  "));
  }
  const std::vector<Duplicate> found = find_duplicates(corpus.views());
  size_t exact = 0, edited = 0;
  for (const Duplicate& d : found) {
    EXPECT_GE(d.index, kOriginals);
    EXPECT_LT(d.of, kOriginals);
    (d.exact ? exact : edited) += 1;
    EXPECT_GE(jaccard(corpus.texts[size_t(d.index)], corpus.texts[size_t(d.of)], 1), 0.6);
    EXPECT_EQ(d.similarity == 1 || !d.exact, true);
  }
  EXPECT_EQ(exact, size_t(kOriginals / 2));
  EXPECT_GE(double(edited), 0.99 * double(corpus.texts.size() - first_edited));
}

TEST(Dedup, KeepsWhatIsNotAlikeEnough) {
  // Pairs of known similarity: a share of the words is the same.
  const RngStream rng(4, 0, "pairs");
  for (int64_t share = 0; share <= 100; share += 5) {
    std::vector<std::string> a = random_words(rng, share, 200), b = a;
    for (size_t i = size_t(share) * 2; i < b.size(); ++i) b[i] = str("other", i);
    const std::string x = join(a, " "), y = join(b, " ");
    const double s = jaccard(x, y, 3);
    const auto found = find_duplicates({x, y});
    if (s < 0.6 || jaccard(x, y, 1) < 0.6) {
      EXPECT_TRUE(found.empty()) << share;
    }
    if (s > 0.75) {
      EXPECT_EQ(found.size(), 1u) << share;
    }
  }
}

TEST(Dedup, JaccardByHand) {
  EXPECT_DOUBLE_EQ(jaccard("a b c", "a b d", 1), 2.0 / 4);
  EXPECT_DOUBLE_EQ(jaccard("a b c d", "a b c e", 3), 1.0 / 3);
  EXPECT_DOUBLE_EQ(jaccard("A  b\nC", "a b c", 3), 1);
  EXPECT_DOUBLE_EQ(jaccard("", "", 3), 1);
  EXPECT_DOUBLE_EQ(jaccard("a", "", 3), 0);
  EXPECT_DOUBLE_EQ(jaccard("a b", "a b", 3), 1);
}

TEST(Dedup, ThreadsChangeNothing) {
  const RngStream rng(5, 0, "documents");
  Corpus corpus;
  for (int64_t i = 0; i < 300; ++i)
    corpus.texts.push_back(join(random_words(rng, i % 200, 40), " ") + str(" end", i % 7));
  const int before = n_threads();
  std::vector<std::pair<int64_t, int64_t>> want;
  for (const int n : {1, 4}) {
    set_threads(n);
    std::vector<std::pair<int64_t, int64_t>> got;
    for (const Duplicate& d : find_duplicates(corpus.views())) got.emplace_back(d.index, d.of);
    if (want.empty()) want = got;
    EXPECT_EQ(got, want);
    EXPECT_GE(got.size(), 95u);
  }
  set_threads(before);
  EXPECT_TRUE(find_duplicates({}).empty());
  EXPECT_TRUE(find_duplicates({"", " "}).empty());
  EXPECT_EQ(find_duplicates({"a b c d", "a b c d"}, {.similarity = 1}).size(), 1u);
}

}  // namespace
}  // namespace moe
