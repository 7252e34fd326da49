// SPDX-License-Identifier: MIT
// The table of routers. A new one is a file in routers/, a line here and in routers.cpp, and a line
// in the conformance test.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "moe/nn/moe/router.h"

namespace moe {

using MakeRouter = std::unique_ptr<Router> (*)(const MoeConfig& config, int64_t d_model,
                                               DType dtype);
struct RouterEntry {
  const char* name;  // value of model.moe.router
  const char* paper;
  MakeRouter make;
  const char* balance;    // what keeps the experts' loads even
  bool balanced = false;  // by construction: no training is needed for it
};

std::unique_ptr<Router> make_top_k_router(const MoeConfig& config, int64_t d_model, DType dtype);
std::unique_ptr<Router> make_sigmoid_bias_router(const MoeConfig& config, int64_t d_model,
                                                 DType dtype);
std::unique_ptr<Router> make_expert_choice_router(const MoeConfig& config, int64_t d_model,
                                                  DType dtype);
std::unique_ptr<Router> make_longcat_router(const MoeConfig& config, int64_t d_model, DType dtype);
std::unique_ptr<Router> make_switch_router(const MoeConfig& config, int64_t d_model, DType dtype);
std::unique_ptr<Router> make_gshard_router(const MoeConfig& config, int64_t d_model, DType dtype);
std::unique_ptr<Router> make_group_limited_router(const MoeConfig& config, int64_t d_model,
                                                  DType dtype);
std::unique_ptr<Router> make_dense_router(const MoeConfig& config, int64_t d_model, DType dtype);
std::unique_ptr<Router> make_dense_raw_router(const MoeConfig& config, int64_t d_model,
                                              DType dtype);
std::unique_ptr<Router> make_top_p_router(const MoeConfig& config, int64_t d_model, DType dtype);
std::unique_ptr<Router> make_relu_router(const MoeConfig& config, int64_t d_model, DType dtype);
std::unique_ptr<Router> make_sinkhorn_router(const MoeConfig& config, int64_t d_model, DType dtype);
std::unique_ptr<Router> make_hash_router(const MoeConfig& config, int64_t d_model, DType dtype);
std::unique_ptr<Router> make_random_router(const MoeConfig& config, int64_t d_model, DType dtype);

std::unique_ptr<Router> make_hash_balanced_router(const MoeConfig& config, int64_t d_model,
                                                  DType dtype);
std::unique_ptr<Router> make_noisy_top_k_router(const MoeConfig& config, int64_t d_model,
                                                DType dtype);
std::unique_ptr<Router> make_quantile_router(const MoeConfig& config, int64_t d_model, DType dtype);
std::unique_ptr<Router> make_cosine_router(const MoeConfig& config, int64_t d_model, DType dtype);
std::unique_ptr<Router> make_hierarchical_router(const MoeConfig& config, int64_t d_model,
                                                 DType dtype);
std::unique_ptr<Router> make_soft_slots_router(const MoeConfig& config, int64_t d_model,
                                               DType dtype);
std::unique_ptr<Router> make_moe_pp_router(const MoeConfig& config, int64_t d_model, DType dtype);
std::unique_ptr<Router> make_base_router(const MoeConfig& config, int64_t d_model, DType dtype);

/// Expected tokens of each expert had only its own noise been drawn again (Shazeer et al. 2017,
/// eqs. 8 to 10); k < E.
std::vector<double> noisy_load(const Tensor& clean_TE, const Tensor& noisy_TE,
                               const Tensor& scale_TE, int64_t k, const ForwardContext& ctx);
/// The bias that one micro-batch proposes for each expert, not centred.
std::vector<double> quantile_proposal(const Tensor& logits_TE, std::span<const float> beta_E,
                                      int64_t k, const ForwardContext& ctx);
/// The expert of each token, at most ceil(T / E) tokens each, with the largest sum of scores [T,
/// E].
std::vector<int32_t> balanced_assignment(const std::vector<double>& scores_TE, int64_t n_experts);
/// Sinkhorn's iteration on exp(logits) [T, E]: rows sum to about 1 / T, columns to 1 / E.
std::vector<double> sinkhorn(const std::vector<double>& logits_TE, int64_t n_experts);

const std::vector<RouterEntry>& router_table();
std::vector<std::string> router_names();
/// Throws Error naming the nearest router when there is none of that name.
std::unique_ptr<Router> make_router(const MoeConfig& config, int64_t d_model, DType dtype);

/// Replaces the entry of the same name for the life of the object: planted faults of tests.
class RouterOverride {
 public:
  explicit RouterOverride(RouterEntry entry);
  ~RouterOverride();
  RouterOverride(const RouterOverride&) = delete;
  RouterOverride& operator=(const RouterOverride&) = delete;

 private:
  RouterEntry previous_;
};

}  // namespace moe
