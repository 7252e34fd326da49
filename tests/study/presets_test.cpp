// SPDX-License-Identifier: MIT
// Presets against sums worked out from the published configurations, to the last parameter.
#include "moe/study/presets.h"

#include <gtest/gtest.h>

#include "moe/base/error.h"
#include "moe/study/shapes.h"

namespace moe {
namespace {

TEST(Presets, CountTheirModelsExactly) {
  struct Known {
    const char* name;
    double total, active;
  };
  for (const Known& k : {Known{"mixtral-8x7b", 46702792704, 12879925248},
                         {"mixtral-8x22b", 140630071296, 39161468928},
                         {"qwen3-30b-a3b", 30532122624, 3353032704},
                         {"qwen3-235b-a22b", 235093634560, 22190763520},
                         {"olmoe", 6919161856, 1282017280},
                         {"deepseek-v2", 235741434880, 21375800320},
                         {"deepseek-v3", 671026419200, 37552297472},
                         {"gpt2", 124439808, 124439808},
                         {"gpt2-medium", 354823168, 354823168},
                         {"gpt2-large", 774030080, 774030080},
                         {"gpt2-xl", 1557611200, 1557611200},
                         {"gpt2-no-qkv-bias", 163009536, 163009536},
                         {"llama2-70b", 68976648192, 68976648192},
                         {"llama3-8b", 8030261248, 8030261248}}) {
    SCOPED_TRACE(k.name);
    const ParameterCount n = count_parameters(counted_model(find_preset(k.name), {}));
    EXPECT_EQ(n.total, k.total);
    EXPECT_EQ(n.active, k.active);
  }
  const CountedModel tied =
      counted_model(find_preset("gpt2-no-qkv-bias"), {"model.tie_embeddings=true"});
  EXPECT_EQ(count_parameters(tied).total, 124412160);
  // nanoGPT prints 10.65M, without its 256 x 384 positions.
  EXPECT_EQ(count_parameters(counted_model(find_preset("nanogpt-char"), {})).total - 256 * 384,
            10646784);
}

TEST(Presets, OperationsAndCacheOfMixtral) {
  const CountedModel m = counted_model(find_preset("mixtral-8x7b"), {});
  EXPECT_EQ(active_matrix_parameters(m.config), 12748587008.0);
  EXPECT_NEAR(train_flop_per_token(m.config, 4096), 79.714e9, 0.01e9);
  EXPECT_EQ(kv_numbers_per_token(m) * 2, 131072);
  EXPECT_EQ(kv_numbers_per_token(counted_model(find_preset("deepseek-v3"), {})) * 2, 70272);
}

TEST(Presets, PublishedNumbersAreNearTheCount) {
  for (const Preset& p : presets()) {
    SCOPED_TRACE(p.name);
    EXPECT_FALSE(p.source.empty());
    if (p.keys.empty()) {
      EXPECT_THROW(counted_model(p, {}), Error);
      continue;
    }
    const ParameterCount n = count_parameters(counted_model(p, {}));
    if (p.published_total > 0) {
      EXPECT_NEAR(n.total / p.published_total, 1, 0.02);
    }
    if (p.published_active > 0) {
      EXPECT_NEAR(n.active / p.published_active, 1, 0.05);
    }
  }
}

TEST(Presets, AnUnknownNameSuggestsTheNearest) {
  try {
    find_preset("mixtral-8x7");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("mixtral-8x7b"), std::string::npos);
  }
}

}  // namespace
}  // namespace moe
