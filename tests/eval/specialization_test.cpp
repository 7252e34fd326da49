// SPDX-License-Identifier: MIT
#include "moe/eval/specialization.h"

#include <gtest/gtest.h>

#include "moe/base/rng.h"

namespace moe {
namespace {

TEST(Specialization, MutualInformationOfClosedCases) {
  EXPECT_DOUBLE_EQ(normalized_mutual_information({{5, 0}, {0, 5}}), 1);
  EXPECT_NEAR(normalized_mutual_information({{5, 5}, {5, 5}}), 0, 1e-12);
  EXPECT_EQ(normalized_mutual_information({{5, 5}}), 0);
}

std::vector<SequencePicks> sequences(bool planted) {
  const RngStream rng = Rng{3, 0}.stream("test");
  std::vector<SequencePicks> out;
  for (int i = 0; i < 60; ++i) {
    SequencePicks s{.subject = i % 3, .counts_E = std::vector<int64_t>(4)};
    for (int j = 0; j < 20; ++j)
      s.counts_E[planted && j % 2 == 0 ? size_t(s.subject) : size_t(rng.below(4, i, j))] += 1;
    out.push_back(s);
  }
  return out;
}

TEST(Specialization, PlantedStructureStandsOutAndNoiseDoesNot) {
  const Specialization planted = measure_specialization({sequences(true)}, 3, 200, 1),
                       noise = measure_specialization({sequences(false)}, 3, 200, 1);
  EXPECT_GT(planted.nmi, planted.shuffled_p99);
  EXPECT_GT(planted.nmi, 3 * planted.shuffled_mean);
  EXPECT_LT(noise.nmi, 3 * noise.shuffled_mean);
}

}  // namespace
}  // namespace moe
