// SPDX-License-Identifier: MIT
// The self-test passes every router of the table and notices a wrong twin of one.
#include "moe/study/router_selftest.h"

#include <gtest/gtest.h>
#include <set>

#include "moe/base/error.h"
#include "moe/nn/model_config.h"
#include "moe/nn/moe/routers.h"

namespace moe {
namespace {

TEST(RouterSelftest, EveryRouterPassesEveryCheck) {
  std::set<std::string> routers, checks;
  for (const SelftestResult& r : router_selftest("all")) {
    EXPECT_TRUE(r.passed) << r.router << ", " << r.check << ": " << r.message;
    routers.insert(r.router);
    checks.insert(r.check);
  }
  EXPECT_EQ(routers.size(), router_names().size());
  EXPECT_EQ(checks.size(), 10u);
}

// top_k that forgets to divide by the sum.
std::unique_ptr<Router> without_norm(const MoeConfig& config, int64_t d_model, DType dtype) {
  MoeConfig c = config;
  c.norm_topk_prob = false;
  return make_top_k_router(c, d_model, dtype);
}
// Says that it is causal in training, which Sinkhorn's iteration is not.
std::unique_ptr<Router> leaky(const MoeConfig& config, int64_t d_model, DType dtype) {
  return make_sinkhorn_router(config, d_model, dtype);
}

std::set<std::string> failed_checks(const std::string& name) {
  std::set<std::string> out;
  for (const SelftestResult& r : router_selftest(name))
    if (!r.passed) out.insert(r.check);
  return out;
}

TEST(RouterSelftest, AWrongTwinInTheTableFails) {
  {
    const RouterOverride planted({"top_k", "planted", without_norm, "loss"});
    EXPECT_EQ(failed_checks("top_k"), std::set<std::string>{"known_answer"});
  }
  {
    const RouterOverride planted({"group_limited", "planted", leaky, "loss"});
    EXPECT_TRUE(failed_checks("group_limited").contains("causality"));
  }
  EXPECT_TRUE(failed_checks("top_k").empty());
}

TEST(RouterSelftest, AnUnknownNameSuggestsTheNearest) {
  EXPECT_THROW(router_selftest("topk"), Error);
}

}  // namespace
}  // namespace moe
