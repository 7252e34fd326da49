// SPDX-License-Identifier: MIT
#include "moe/nn/moe/routers.h"

#include <algorithm>

#include "moe/nn/model_config.h"

namespace moe {
namespace {

std::vector<RouterEntry>& table() {
  static std::vector<RouterEntry> entries = {
      {"top_k", "Shazeer et al. 2017, arXiv:1701.06538; Switch for k = 1, arXiv:2101.03961",
       make_top_k_router, "loss"},
      {"sigmoid_bias", "DeepSeek-V3 2024, arXiv:2412.19437; Wang et al. 2024, arXiv:2408.15664",
       make_sigmoid_bias_router, "selection bias"},
      {"expert_choice", "Zhou et al. 2022, arXiv:2202.09368", make_expert_choice_router,
       "by construction", true},
      {"longcat", "LongCat-Flash 2025, arXiv:2509.01322 (identity experts)", make_longcat_router,
       "selection bias, loss"},
      {"switch", "Fedus et al. 2021, arXiv:2101.03961", make_switch_router, "loss"},
      {"gshard", "Lepikhin et al. 2020, arXiv:2006.16668", make_gshard_router, "loss"},
      {"group_limited", "DeepSeek-V2 2024, arXiv:2405.04434", make_group_limited_router, "loss"},
      {"dense", "Jacobs et al. 1991", make_dense_router, "by construction", true},
      {"dense_raw", "none: a teaching example", make_dense_raw_router, "by construction", true},
      {"top_p", "Huang et al. 2024, arXiv:2403.07652", make_top_p_router, "loss, entropy"},
      {"relu", "ReMoE, Wang et al. 2024, arXiv:2412.14711", make_relu_router, "L1 loss"},
      {"sinkhorn", "Clark et al. 2022, arXiv:2202.01169", make_sinkhorn_router, "iteration"},
      {"hash", "Roller et al. 2021, arXiv:2106.04426", make_hash_router, "random table"},
      {"hash_balanced", "Roller et al. 2021, arXiv:2106.04426", make_hash_balanced_router,
       "by construction", true},
      {"random", "none: a baseline", make_random_router, "random table"},
      {"noisy_top_k", "Shazeer et al. 2017, arXiv:1701.06538", make_noisy_top_k_router,
       "importance and load losses"},
      {"hierarchical", "Shazeer et al. 2017, arXiv:1701.06538, appendix B",
       make_hierarchical_router, "loss"},
      {"base", "Lewis et al. 2021, arXiv:2103.16716", make_base_router, "by construction", true},
      {"quantile", "Su 2026; Megatron-Core", make_quantile_router, "selection bias"},
      {"soft_slots", "Puigcerver et al. 2023, arXiv:2308.00951", make_soft_slots_router,
       "by construction", true},
      {"cosine", "Chi et al. 2022, arXiv:2204.09179", make_cosine_router, "loss"},
      {"moe_pp", "MoE++, Jin et al. 2024, arXiv:2410.07348", make_moe_pp_router, "loss"},
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
