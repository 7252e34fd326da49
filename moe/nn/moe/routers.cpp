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
      {"switch", "Fedus et al. 2021, arXiv:2101.03961", make_switch_router},
      {"gshard", "Lepikhin et al. 2020, arXiv:2006.16668", make_gshard_router},
      {"group_limited", "DeepSeek-V2 2024, arXiv:2405.04434", make_group_limited_router},
      {"dense", "Jacobs et al. 1991", make_dense_router},
      {"dense_raw", "none: a teaching example", make_dense_raw_router},
      {"top_p", "Huang et al. 2024, arXiv:2403.07652", make_top_p_router},
      {"relu", "ReMoE, Wang et al. 2024, arXiv:2412.14711", make_relu_router},
      {"sinkhorn", "Clark et al. 2022, arXiv:2202.01169", make_sinkhorn_router},
      {"hash", "Roller et al. 2021, arXiv:2106.04426", make_hash_router},
      {"random", "none: a baseline", make_random_router},
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
