// SPDX-License-Identifier: MIT
#include "moe/nn/moe/routers.h"

#include <algorithm>

#include "moe/nn/model_config.h"

namespace moe {
namespace {

std::vector<RouterEntry>& table() {
  static std::vector<RouterEntry> entries = {
      {"top_k", "Shazeer et al. 2017, arXiv:1701.06538; Switch for k = 1, arXiv:2101.03961",
       make_top_k_router},
      {"sigmoid_bias", "DeepSeek-V3 2024, arXiv:2412.19437; Wang et al. 2024, arXiv:2408.15664",
       make_sigmoid_bias_router},
      {"expert_choice", "Zhou et al. 2022, arXiv:2202.09368", make_expert_choice_router},
      {"longcat", "LongCat-Flash 2025, arXiv:2509.01322 (identity experts)", make_longcat_router},
  };
  return entries;
}

RouterEntry& find(const std::string& name) {
  for (RouterEntry& entry : table())
    if (name == entry.name) return entry;
  const std::vector<std::string> names = router_names();
  const std::string near = nearest_word(name, names);
  throw Error(str("[config] model.moe.router: '", printable(name, 40), "' is unknown; ",
                  near.empty() ? "use one of " + join(names, ", ") : "did you mean " + near + "?"),
              ExitCode::usage);
}

}  // namespace

const std::vector<RouterEntry>& router_table() { return table(); }

std::vector<std::string> router_names() {
  std::vector<std::string> names;
  for (const RouterEntry& entry : table()) names.emplace_back(entry.name);
  return names;
}

std::unique_ptr<Router> make_router(const MoeConfig& config, int64_t d_model, DType dtype) {
  return find(config.router).make(config, d_model, dtype);
}

RouterOverride::RouterOverride(RouterEntry entry) : previous_(find(entry.name)) {
  find(entry.name) = entry;
}
RouterOverride::~RouterOverride() { find(previous_.name) = previous_; }

}  // namespace moe
